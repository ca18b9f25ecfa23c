package tokenizer

import "strings"

// Stream decodes tokens as they come, special ones left out. The texts that it returns, joined, are
// DecodeSkipSpecial of all tokens: half a character waits for its other half, and a space that belongs to the next
// word (sentencepiece) is not lost at the seam.
type Stream struct {
	t         *Tokenizer
	ids       []int32 // since the last seam but one
	seam      int     // ids[:seam] are printed already; they give what follows its context
	seamBytes int     // of the text of ids[:seam]
	run       bool    // in a run of byte tokens, which is decoded as a whole: all of it is text, or none
}

// NewStream returns a stream that has seen nothing.
func (t *Tokenizer) NewStream() *Stream { return &Stream{t: t} }

// Next takes a token and returns the text that is certain now, often none.
func (s *Stream) Next(id int32) string {
	s.ids = append(s.ids, id)
	if isByte, known := s.t.inRun[id]; isByte || !known {
		s.run = isByte
	}
	if s.run {
		return ""
	}
	text := s.t.DecodeSkipSpecial(s.ids)
	if len(text) <= s.seamBytes || strings.HasSuffix(text, "\uFFFD") {
		return ""
	}
	out := text[s.seamBytes:]
	s.ids = append([]int32(nil), s.ids[s.seam:]...)
	s.seam = len(s.ids)
	s.seamBytes = len(s.t.DecodeSkipSpecial(s.ids))
	return out
}

// Flush returns what is left when no token follows.
func (s *Stream) Flush() string {
	text := s.t.DecodeSkipSpecial(s.ids)
	out := text[min(s.seamBytes, len(text)):]
	s.ids, s.seam, s.seamBytes, s.run = nil, 0, 0, false
	return out
}
