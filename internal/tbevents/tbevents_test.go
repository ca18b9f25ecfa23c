package tbevents

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
)

// read is an independent reader of event files: every record's two checksums, every field by its number.
type event struct {
	Wall    float64
	Step    int64
	Version string
	Start   bool
	Scalars map[string]float32
}

func read(t *testing.T, b []byte) []event {
	t.Helper()
	var events []event
	for len(b) > 0 {
		n := binary.LittleEndian.Uint64(b)
		if got, want := binary.LittleEndian.Uint32(b[8:]), mask(b[:8]); got != want {
			t.Fatalf("checksum of the length: %x, want %x", got, want)
		}
		data := b[12 : 12+n]
		if got, want := binary.LittleEndian.Uint32(b[12+n:]), mask(data); got != want {
			t.Fatalf("checksum of the data: %x, want %x", got, want)
		}
		b = b[16+n:]
		var e event
		fields(t, data, func(num protowire.Number, v uint64, s []byte) {
			switch num {
			case 1:
				e.Wall = math.Float64frombits(v)
			case 2:
				e.Step = int64(v)
			case 3:
				e.Version = string(s)
			case 5:
				e.Scalars = map[string]float32{}
				fields(t, s, func(_ protowire.Number, _ uint64, value []byte) {
					var tag string
					fields(t, value, func(num protowire.Number, v uint64, s []byte) {
						if num == 1 {
							tag = string(s)
						} else {
							e.Scalars[tag] = math.Float32frombits(uint32(v))
						}
					})
				})
			case 7:
				fields(t, s, func(num protowire.Number, v uint64, _ []byte) { e.Start = num == 1 && v == 1 })
			}
		})
		events = append(events, e)
	}
	return events
}

func fields(t *testing.T, b []byte, f func(num protowire.Number, v uint64, s []byte)) {
	t.Helper()
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
		var v uint64
		var s []byte
		switch typ {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			var x uint32
			x, n = protowire.ConsumeFixed32(b)
			v = uint64(x)
		case protowire.Fixed64Type:
			v, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			s, n = protowire.ConsumeBytes(b)
		}
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
		f(num, v, s)
	}
}

func TestEventsReadBack(t *testing.T) {
	dir := t.TempDir()
	at := time.Unix(1700000000, 500000000)
	w, err := Create(dir, at)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Restart(at, 7); err != nil {
		t.Fatal(err)
	}
	if err := w.Scalars(at, 8, map[string]float64{"train/loss": 1.5, "train/grad_norm": 0.25}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	names, _ := filepath.Glob(filepath.Join(dir, "events.out.tfevents.*"))
	if len(names) != 1 {
		t.Fatalf("files %v", names)
	}
	b, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	want := []event{
		{Wall: 1700000000.5, Version: "brain.Event:2"},
		{Wall: 1700000000.5, Step: 7, Start: true},
		{Wall: 1700000000.5, Step: 8, Scalars: map[string]float32{"train/loss": 1.5, "train/grad_norm": 0.25}},
	}
	if d := cmp.Diff(want, read(t, b)); d != "" {
		t.Error(d)
	}
}

// The masked checksum of the empty string and of a known text, from TensorFlow's own masked_crc32c.
func TestMask(t *testing.T) {
	if got := crcOf("123456789"); got != 0xe3069283 {
		t.Errorf("CRC-32C of 123456789 is %x, RFC 3720 says e3069283", got)
	}
	if got := mask(nil); got != 0xa282ead8 {
		t.Errorf("mask of the empty text is %x", got)
	}
}

func crcOf(s string) uint32 {
	m := mask([]byte(s)) - 0xa282ead8
	return m>>17 | m<<15
}

// TensorBoard reads two files of one run: what a killed process wrote beyond the checkpoint does not count.
// HONE_PEERS names a Python that has it.
func TestTensorBoardReadsIt(t *testing.T) {
	python := os.Getenv("HONE_PEERS")
	if python == "" {
		t.Skip("HONE_PEERS is not set")
	}
	dir := t.TempDir()
	at := time.Unix(1700000000, 0)
	write := func(at time.Time, restart int64, steps ...int64) {
		w, err := Create(dir, at)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		if restart > 0 {
			if err := w.Restart(at, restart); err != nil {
				t.Fatal(err)
			}
		}
		for _, step := range steps {
			if err := w.Scalars(at.Add(time.Duration(step)*time.Second), step, map[string]float64{"train/loss": 1 / float64(step)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(at, 0, 1, 2, 3, 4)
	write(at.Add(time.Minute), 3, 3, 4, 8)
	out, err := exec.Command(python, "../../bench/peers/tensorboard_check.py", dir).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		t.Fatalf("%v\n%s", err, exit.Stderr)
	} else if err != nil {
		t.Fatal(err)
	}
	want := `{"train/loss": [[1, 1.0], [2, 0.5], [3, 0.3333333432674408], [4, 0.25], [8, 0.125]]}` + "\n"
	if d := cmp.Diff(want, string(out)); d != "" {
		t.Error(d)
	}
}
