package gguf

// tokenizerJSON returns tokenizer.json. All tokens are in its vocabulary, added ones too, so that each keeps its id;
// left out are the placeholders that pad it to the embedding's rows.
func (t *tokenizer) tokenizerJSON() object {
	vocabulary := make(object, 0, 2*len(t.tokens))
	added := []object{}
	for id, token := range t.tokens {
		kind := t.kind(id)
		if kind == typeUnused {
			continue
		}
		vocabulary = append(vocabulary, token, id)
		if kind == typeControl || kind == typeUserDefined {
			added = append(added, object{"id", id, "content", token, "single_word", false, "lstrip", false, "rstrip", false,
				"normalized", false, "special", kind == typeControl})
		}
	}
	var normalizer, pre, unknown any
	decoder, byteFallback := byteLevel(true, true), false
	switch {
	case t.pieces != nil:
		normalizer, decoder, byteFallback = t.pieces.normalizer(), t.pieces.decoder(), t.pieces.byteFallback
		if t.unk >= 0 {
			unknown = t.tokens[t.unk]
		}
	default:
		if t.pre.nfc {
			normalizer = object{"type", "NFC"}
		}
		pre = t.preTokenizerJSON()
	}
	return object{
		"version", "1.0",
		"truncation", nil,
		"padding", nil,
		"added_tokens", added,
		"normalizer", normalizer,
		"pre_tokenizer", pre,
		"post_processor", t.postProcessorJSON(),
		"decoder", decoder,
		"model", object{
			"type", "BPE",
			"dropout", nil,
			"unk_token", unknown,
			"continuing_subword_prefix", nil,
			"end_of_word_suffix", nil,
			"fuse_unk", t.pieces != nil,
			"byte_fallback", byteFallback,
			"ignore_merges", t.pre.ignoreMerges,
			"vocab", vocabulary,
			"merges", t.merges,
		},
	}
}

func byteLevel(trimOffsets, regex bool) object {
	return object{"type", "ByteLevel", "add_prefix_space", false, "trim_offsets", trimOffsets, "use_regex", regex}
}

func (t *tokenizer) preTokenizerJSON() object {
	var steps []object
	if t.pre.digits {
		steps = append(steps, object{"type", "Digits", "individual_digits", true})
	}
	if t.pre.split != "" {
		steps = append(steps, object{"type", "Split", "pattern", object{"Regex", t.pre.split}, "behavior", "Isolated", "invert", false})
	}
	steps = append(steps, byteLevel(true, t.pre.split == ""))
	return object{"type", "Sequence", "pretokenizers", steps}
}

// postProcessorJSON puts bos and eos around a text where the file asks for it.
func (t *tokenizer) postProcessorJSON() any {
	trim := byteLevel(false, true)
	if !t.addBOS && !t.addEOS {
		if t.pieces != nil {
			return nil
		}
		return trim
	}
	sequence := func(name string, segment int) []object {
		special := func(id int64) object {
			return object{"SpecialToken", object{"id", t.tokens[id], "type_id", segment}}
		}
		var s []object
		if t.addBOS {
			s = append(s, special(t.bos))
		}
		s = append(s, object{"Sequence", object{"id", name, "type_id", segment}})
		if t.addEOS {
			s = append(s, special(t.eos))
		}
		return s
	}
	specials := object{}
	for _, id := range t.around() {
		token := t.tokens[id]
		specials = append(specials, token, object{"id", token, "ids", []int64{id}, "tokens", []string{token}})
	}
	template := object{
		"type", "TemplateProcessing",
		"single", sequence("A", 0),
		"pair", append(sequence("A", 0), sequence("B", 1)...),
		"special_tokens", specials,
	}
	if t.pieces != nil {
		return template
	}
	return object{"type", "Sequence", "processors", []object{trim, template}}
}

// around returns the ids that the post-processor adds, each once.
func (t *tokenizer) around() (ids []int64) {
	if t.addBOS {
		ids = append(ids, t.bos)
	}
	if t.addEOS && (!t.addBOS || t.eos != t.bos) {
		ids = append(ids, t.eos)
	}
	return ids
}

// write writes tokenizer.json, tokenizer_config.json, special_tokens_map.json, chat_template.jinja and
// generation_config.json.
func (t *tokenizer) write(dir string, contextLength int64) error {
	if err := writeJSON(dir, "tokenizer.json", t.tokenizerJSON()); err != nil {
		return err
	}
	names := object{}
	for _, s := range []struct {
		role string
		id   int64
	}{{"bos_token", t.bos}, {"eos_token", t.eos}, {"pad_token", t.pad}, {"unk_token", t.unk}} {
		if s.id >= 0 {
			names = append(names, s.role, t.tokens[s.id])
		}
	}
	if err := writeJSON(dir, "special_tokens_map.json", names); err != nil {
		return err
	}
	config := append(object{"add_bos_token", t.addBOS, "add_eos_token", t.addEOS, "clean_up_tokenization_spaces", false,
		"model_max_length", contextLength, "tokenizer_class", "PreTrainedTokenizerFast"}, names...)
	if err := writeJSON(dir, "tokenizer_config.json", config); err != nil {
		return err
	}
	if t.template != "" {
		if err := writeText(dir, "chat_template.jinja", t.template); err != nil {
			return err
		}
	}
	return writeJSON(dir, "generation_config.json", t.ids())
}

// ids returns bos_token_id, eos_token_id (a list where several end a generation) and pad_token_id.
func (t *tokenizer) ids() object {
	o := object{}
	if t.bos >= 0 {
		o = append(o, "bos_token_id", t.bos)
	}
	switch len(t.stops) {
	case 0:
	case 1:
		o = append(o, "eos_token_id", t.stops[0])
	default:
		o = append(o, "eos_token_id", t.stops)
	}
	if t.pad >= 0 {
		o = append(o, "pad_token_id", t.pad)
	}
	return o
}
