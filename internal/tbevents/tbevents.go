// Package tbevents writes TensorBoard event files with scalars.
//
//	record      length, masked CRC of it, data, masked CRC of that (TFRecord)
//	event       a record: tensorflow.Event, protocol buffers (tensorflow/core/util/event.proto)
//	session log an event that says from which step a resumed run goes on; TensorBoard drops what it overtakes
//
// One file has one writer. A file that ends in the middle of a record, as after a kill, is read up to there.
package tbevents

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"sort"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Writer appends events to a file. It is not safe for concurrent use.
type Writer struct{ f *os.File }

// Create begins a new event file in dir. TensorBoard finds it by the part "tfevents" of its name and orders the
// files of a folder by name, so the name begins with the time.
func Create(dir string, now time.Time) (*Writer, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	name := fmt.Sprintf("events.out.tfevents.%010d.%s.%d.%d", now.Unix(), host, os.Getpid(), now.Nanosecond())
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	w := &Writer{f}
	version := protowire.AppendTag(nil, fieldFileVersion, protowire.BytesType)
	version = protowire.AppendString(version, "brain.Event:2")
	if err := w.event(now, 0, version); err != nil {
		f.Close()
		return nil, err
	}
	return w, nil
}

// Field numbers of tensorflow.Event, SessionLog, Summary, Summary.Value and its metadata.
const (
	fieldWallTime    = 1
	fieldStep        = 2
	fieldFileVersion = 3
	fieldSummary     = 5
	fieldSessionLog  = 7

	sessionStatus = 1
	sessionStart  = 1 // SessionLog.START

	summaryValue     = 1
	valueTag         = 1
	valueSimpleValue = 2
)

// Scalars appends the values at a step, each under its tag, in the order of the tags.
func (w *Writer) Scalars(now time.Time, step int64, values map[string]float64) error {
	tags := make([]string, 0, len(values))
	for tag := range values {
		tags = append(tags, tag)
	}
	sort.Strings(tags)
	var summary []byte
	for _, tag := range tags {
		var value []byte
		value = protowire.AppendTag(value, valueTag, protowire.BytesType)
		value = protowire.AppendString(value, tag)
		value = protowire.AppendTag(value, valueSimpleValue, protowire.Fixed32Type)
		value = protowire.AppendFixed32(value, math.Float32bits(float32(values[tag])))
		summary = protowire.AppendTag(summary, summaryValue, protowire.BytesType)
		summary = protowire.AppendBytes(summary, value)
	}
	body := protowire.AppendTag(nil, fieldSummary, protowire.BytesType)
	return w.event(now, step, protowire.AppendBytes(body, summary))
}

// Restart says that events at step and later of earlier files do not count.
func (w *Writer) Restart(now time.Time, step int64) error {
	start := protowire.AppendTag(nil, sessionStatus, protowire.VarintType)
	start = protowire.AppendVarint(start, sessionStart)
	body := protowire.AppendTag(nil, fieldSessionLog, protowire.BytesType)
	return w.event(now, step, protowire.AppendBytes(body, start))
}

// Close closes the file.
func (w *Writer) Close() error { return w.f.Close() }

func (w *Writer) event(now time.Time, step int64, body []byte) error {
	var e []byte
	e = protowire.AppendTag(e, fieldWallTime, protowire.Fixed64Type)
	e = protowire.AppendFixed64(e, math.Float64bits(float64(now.UnixNano())/1e9))
	e = protowire.AppendTag(e, fieldStep, protowire.VarintType)
	e = protowire.AppendVarint(e, uint64(step))
	_, err := w.f.Write(frame(append(e, body...)))
	return err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frame makes a TFRecord of data: one write, so that a kill leaves whole records and at most one part.
func frame(data []byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	b = binary.LittleEndian.AppendUint32(b, mask(b))
	b = append(b, data...)
	return binary.LittleEndian.AppendUint32(b, mask(data))
}

// mask is TFRecord's CRC-32C: rotated and shifted, so that a CRC stored in data does not disturb the CRC of the data.
func mask(data []byte) uint32 {
	c := crc32.Checksum(data, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}
