package dataset

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// The library allocates what a Parquet file's headers claim. So every header is checked before the library sees it:
// the footer by a walk that allocates nothing, each page by reading it once, decompressed into nothing, with the
// size that its header claims as the bound. Without this a file of 1 kB could claim gigabytes, and running out of
// memory cannot be recovered from.
const (
	maxFooter     = 64 << 20  // bytes
	maxPageHeader = 256 << 20 // bytes; they hold statistics, the least and the greatest text, twice as long as a line of maxLine may be
	maxPage       = 512 << 20 // bytes, decompressed
	maxWindow     = 128 << 20 // bytes that a zstd stream refers back to
	maxPageValues = 16 << 20  // even where all are null and take no space
)

var errPage = errors.New("a page header is broken")

// checkFooter reads the end of a file of this size and checks the form of its metadata.
func checkFooter(f io.ReaderAt, size int64) error {
	if size < 12 {
		return errors.New("no Parquet file: too short")
	}
	var end [8]byte
	if _, err := f.ReadAt(end[:], size-8); err != nil {
		return err
	}
	if string(end[4:]) != "PAR1" {
		return errors.New("no Parquet file, or a truncated one: it does not end with PAR1")
	}
	n := int64(binary.LittleEndian.Uint32(end[:]))
	if n > maxFooter || n > size-12 {
		return fmt.Errorf("a footer of %d bytes in a file of %d", n, size)
	}
	footer := make([]byte, n)
	if _, err := f.ReadAt(footer, size-8-n); err != nil {
		return err
	}
	walk := thriftWalk{b: footer}
	return walk.structure(0)
}

// checkChunk checks the pages of a column chunk in a file of this size. Rows is the number of rows of its group
// where the column has one value a row, else -1.
func checkChunk(f io.ReaderAt, size int64, c *format.ColumnMetaData, def, rep int, rows int64) error {
	at := c.DataPageOffset
	if d := c.DictionaryPageOffset; d > 0 && d < at {
		at = d
	}
	if at < 4 || c.TotalCompressedSize < 0 || c.NumValues < 0 || at > size || c.TotalCompressedSize > size-at {
		return errors.New("a column lies outside of the file")
	}
	if rows >= 0 && c.NumValues != rows {
		return fmt.Errorf("a column of %d values in %d rows", c.NumValues, rows)
	}
	end := at + c.TotalCompressedSize
	var values int64
	for at < end && values < c.NumValues {
		h, n, err := pageHeader(f, at, end)
		if err != nil {
			return err
		}
		at += int64(n)
		if h.CompressedPageSize < 0 || int64(h.CompressedPageSize) > end-at || h.UncompressedPageSize < 0 || h.UncompressedPageSize > maxPage {
			return errPage
		}
		page := io.NewSectionReader(f, at, int64(h.CompressedPageSize))
		at += int64(h.CompressedPageSize)
		p := pageCheck{header: h, codec: c.Codec, def: def > 0, rep: rep > 0}
		if err := p.check(page); err != nil {
			return err
		}
		values += p.values
	}
	if values != c.NumValues {
		return fmt.Errorf("a column of %d values has %d in its pages", c.NumValues, values)
	}
	return nil
}

// pageHeader reads the header at the offset and returns it with its length.
func pageHeader(f io.ReaderAt, at, end int64) (*format.PageHeader, int, error) {
	for window := int64(256); ; window *= 8 {
		b := make([]byte, min(window, end-at))
		if _, err := f.ReadAt(b, at); err != nil {
			return nil, 0, err
		}
		walk := thriftWalk{b: b}
		err := walk.structure(0)
		if errors.Is(err, errShort) && int64(len(b)) < end-at && window < maxPageHeader {
			continue
		}
		if err != nil {
			return nil, 0, errPage
		}
		h := new(format.PageHeader)
		if err := thrift.Unmarshal(new(thrift.CompactProtocol), b[:walk.at], h); err != nil {
			return nil, 0, err
		}
		return h, walk.at, nil
	}
}

// pageCheck checks one page.
type pageCheck struct {
	header   *format.PageHeader
	codec    format.CompressionCodec
	def, rep bool // the column has such levels
	values   int64
}

func (p *pageCheck) check(page *io.SectionReader) error {
	h := p.header
	var encoding format.Encoding
	var plain int64 // bytes before what is compressed: the levels of a page of the second version
	compressed := true
	levels := 0 // levels before the values, with their length before them
	switch {
	case h.Type == format.DictionaryPage && h.DictionaryPageHeader.Valid:
		d := h.DictionaryPageHeader.V
		if d.NumValues < 0 || int64(d.NumValues) > maxPageValues {
			return errPage
		}
		encoding = d.Encoding
	case h.Type == format.DataPage && h.DataPageHeader.Valid:
		d := h.DataPageHeader.V
		p.values, encoding = int64(d.NumValues), d.Encoding
		if p.rep {
			levels++
		}
		if p.def {
			levels++
		}
	case h.Type == format.DataPageV2 && h.DataPageHeaderV2.Valid:
		d := h.DataPageHeaderV2.V
		p.values, encoding = int64(d.NumValues), d.Encoding
		plain = int64(d.RepetitionLevelsByteLength) + int64(d.DefinitionLevelsByteLength)
		if d.RepetitionLevelsByteLength < 0 || d.DefinitionLevelsByteLength < 0 || plain > page.Size() || d.NumNulls < 0 || d.NumNulls > d.NumValues || d.NumRows < 0 || d.NumRows > d.NumValues {
			return errPage
		}
		compressed = !d.IsCompressed.Valid || d.IsCompressed.V
		if p.rep && d.RepetitionLevelsByteLength == 0 { // Arrow writes such pages, parquet-go v0.32 cannot read them
			return errors.New("a page without values in a list; write the file with data pages of version 1.0")
		}
	default:
		return fmt.Errorf("a page of type %v", h.Type)
	}
	if p.values < 0 || p.values > maxPageValues {
		return errPage
	}
	if _, err := page.Seek(plain, io.SeekStart); err != nil {
		return err
	}
	codec := p.codec
	if !compressed {
		codec = format.Uncompressed
	}
	delta := encoding == format.DeltaBinaryPacked || encoding == format.DeltaLengthByteArray
	if encoding == format.DeltaByteArray {
		return errors.New("encoding DELTA_BYTE_ARRAY is not read; write the file with plain or dictionary encoding")
	}
	head, n, err := inflate(page, codec, int64(h.UncompressedPageSize)-plain, delta)
	if err != nil {
		return err
	}
	if plain+n != int64(h.UncompressedPageSize) {
		return fmt.Errorf("a page of another size than its header says")
	}
	if delta {
		return checkDelta(head, levels, p.values)
	}
	return nil
}

// inflate decompresses r and returns how many bytes that made, at most one above limit; with keep, the bytes too.
func inflate(r *io.SectionReader, codec format.CompressionCodec, limit int64, keep bool) ([]byte, int64, error) {
	var in io.Reader = r
	switch codec {
	case format.Uncompressed:
	case format.Snappy, format.Lz4Raw:
		return inflateBlock(r, codec, limit)
	case format.Gzip:
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, 0, err
		}
		in = z
	case format.Zstd:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, 0, err
		}
		defer z.Close()
		in = z
	case format.Brotli:
		in = brotli.NewReader(r)
	default:
		return nil, 0, fmt.Errorf("compression %v is not read", codec)
	}
	in = io.LimitReader(in, limit+1)
	if keep {
		var b bytes.Buffer
		n, err := io.Copy(&b, in)
		return b.Bytes(), n, err
	}
	n, err := io.Copy(io.Discard, in)
	return nil, n, err
}

// maxRatio is more than a block of LZ4 (255) or Snappy (32) can grow by.
const maxRatio = 256

// inflateBlock is inflate for codecs without a stream form.
func inflateBlock(r *io.SectionReader, codec format.CompressionCodec, limit int64) ([]byte, int64, error) {
	src, err := io.ReadAll(r)
	if err != nil || len(src) == 0 {
		return nil, 0, err
	}
	if limit < 0 || limit > int64(len(src))*maxRatio {
		return nil, 0, errPage
	}
	if codec == format.Snappy {
		n, err := snappy.DecodedLen(src)
		if err != nil || int64(n) > limit {
			return nil, int64(n), err
		}
		b, err := snappy.Decode(nil, src)
		return b, int64(len(b)), err
	}
	b := make([]byte, limit)
	n, err := lz4.UncompressBlock(src, b)
	if err != nil {
		return nil, 0, err
	}
	return b[:n], int64(n), nil
}

// checkDelta checks that a delta-encoded page claims no more values than its header.
func checkDelta(b []byte, levels int, values int64) error {
	for range levels {
		if len(b) < 4 || uint64(binary.LittleEndian.Uint32(b)) > uint64(len(b)-4) {
			return errPage
		}
		b = b[4+binary.LittleEndian.Uint32(b):]
	}
	var head [4]uint64 // block size, miniblocks, values, first value
	for i := range head {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return errPage
		}
		head[i], b = v, b[n:]
	}
	if head[0] > 1<<20 || head[1] > head[0] || head[2] > uint64(values) {
		return errPage
	}
	return nil
}
