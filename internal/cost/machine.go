package cost

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hone-ml/hone/internal/atomicfile"
	"github.com/hone-ml/hone/internal/bounded"
)

// Machine is how fast a machine is with one device and one number of threads. Rates are a second.
type Machine struct {
	Name    string `json:"name"`   // of the processor or the accelerator
	Device  string `json:"device"` // cpu, cuda
	Threads int    `json:"threads"`
	Memory  int64  `json:"memory"` // bytes that a computation may take; 0 is not known

	Float32   float64 `json:"float32"`   // FLOP of matrix products
	BFloat16  float64 `json:"bfloat16"`  // the same in bfloat16
	Step      float64 `json:"step"`      // of Float32: the share that a training step reaches
	Bandwidth float64 `json:"bandwidth"` // bytes of weights that a product of one row reads
	Layer     float64 `json:"layer"`     // seconds of a layer in one pass, whatever its size
	Start     float64 `json:"start"`     // seconds until a worker computes
	Resident  int64   `json:"resident"`  // bytes of a worker that holds no model
	Disk      float64 `json:"disk"`      // bytes written and synced
	Hash      float64 `json:"hash"`      // bytes hashed

	Hardware   string  `json:"hardware,omitempty"`   // what it was measured on: a profile of other hardware counts for nothing
	Processors int     `json:"processors,omitempty"` // of that machine
	Others     float64 `json:"others,omitempty"`     // processors that other work had meanwhile
	Spread     float64 `json:"spread,omitempty"`     // the median of what was repeated over the least, at the worst

	Measured time.Time `json:"measured,omitzero"` // zero: published or guessed
	Said     string    `json:"-"`                 // what stands for the measurement, where there is none
}

// Basis says what the figures stand on.
func (m Machine) Basis() string {
	if m.Measured.IsZero() {
		return m.Said
	}
	said := "profile of " + m.Measured.Local().Format(time.DateOnly)
	if why := m.Unsteady(); why != "" {
		said += fmt.Sprintf(", taken while %s: hone doctor --bench again, when the machine rests", why)
	}
	return said
}

// steady is how much longer the median turn of a measurement may take than the quickest, where nothing disturbs it.
const steady = 1.3

// Unsteady says why a profile is not to be relied on; empty where it is: other work was in the way, or what was repeated took now this
// long and now that.
func (m Machine) Unsteady() string {
	threads := float64(m.Threads)
	switch {
	case m.Measured.IsZero():
		return ""
	case m.Others+threads > float64(m.Processors)+max(0.25, threads/20):
		return fmt.Sprintf("other work had %.1f of %d processors", m.Others, m.Processors)
	case m.Spread > steady:
		return fmt.Sprintf("its speed varied by %.1f times", m.Spread)
	}
	return ""
}

// Within is the factor that what is computed from the figures is believed to be right within: that of a test for a profile of a machine at rest.
func (m Machine) Within() float64 {
	switch {
	case m.Measured.IsZero():
		return 3
	case m.Unsteady() != "":
		return 4
	}
	return 2
}

// Guess is a machine of so many threads that nobody has measured: what processors with AVX2 of the last ten years have a core.
func Guess(device string, threads int, memory int64) Machine {
	m := Machine{
		Device: device, Threads: threads, Memory: memory, Said: "no profile: hone doctor --bench measures this machine",
		Float32: 40e9 * float64(threads), BFloat16: 40e9 * float64(threads), Step: 0.6, Bandwidth: min(6e9*float64(threads), 60e9), Layer: 40e-6,
	}
	if device != "cpu" { // the least of those that train language models
		m.Float32, m.BFloat16, m.Step, m.Bandwidth, m.Layer = 8e12, 60e12, 0.5, 300e9, 30e-6
	}
	return m.surrounded()
}

// surrounded fills in what is not of the device.
func (m Machine) surrounded() Machine {
	m.Start, m.Resident, m.Disk, m.Hash = 0.5, 300<<20, 300e6, 1e9
	return m
}

// published is accelerators by name: memory in GiB, dense bfloat16 and float32 (TF32 off) in 10¹² FLOP/s, bandwidth in 10⁹ bytes/s, of
// NVIDIA's data sheets.
var published = map[string]struct{ memory, bfloat16, float32, bandwidth float64 }{
	"t4":        {16, 65, 8.1, 320}, // of float16: it has no bfloat16
	"l4":        {24, 121, 30, 300},
	"a10":       {24, 125, 31, 600},
	"l40s":      {48, 362, 91, 864},
	"rtx-3090":  {24, 71, 35, 936},
	"rtx-4090":  {24, 165, 82, 1008},
	"a100-40gb": {40, 312, 19.5, 1555},
	"a100-80gb": {80, 312, 19.5, 2039},
	"h100":      {80, 989, 67, 3350},
	"h200":      {141, 989, 67, 4800},
	"b200":      {180, 2250, 80, 8000},
}

// reached is the share of the published rate that a product reaches, and of that what a step does: Llama 3.2 1B's shape takes 135 ms for
// 8 rows of 1,024 tokens on an H200 (bench/cuda.py), 46% of the data sheet.
const reached, stepped = 0.75, 0.6

// Named is the machine of that name in the list of #MachineName.
func Named(name string) (Machine, bool) {
	p, ok := published[name]
	if !ok {
		return Machine{}, false
	}
	m := Machine{
		Name: name, Device: "cuda", Threads: 1, Memory: int64(p.memory * (1 << 30)), Float32: p.float32 * 1e12 * reached,
		BFloat16: p.bfloat16 * 1e12 * reached, Step: stepped, Bandwidth: p.bandwidth * 1e9 * reached, Layer: 30e-6,
		Said: "data sheet of " + name,
	}
	return m.surrounded(), true
}

// Products is the rate of matrix products in a dtype.
func (m Machine) Products(dtype string) float64 {
	if dtype == "bfloat16" {
		return m.BFloat16
	}
	return m.Float32
}

// profileLimit bounds a profile's file.
const profileLimit = 1 << 20

// Profile is the file that a measured machine is kept in.
func Profile(dir, device string, threads int) string {
	return filepath.Join(dir, fmt.Sprintf("%s-%d.json", strings.ReplaceAll(device, ":", "-"), threads))
}

// ReadProfile reads what was measured of a device with so many threads; ok is false where nothing was. A profile of other hardware is an
// error: a home folder may be on several machines, and a machine may change.
func ReadProfile(dir, device string, threads int, hardware string) (m Machine, ok bool, err error) {
	path := Profile(dir, device, threads)
	b, err := bounded.ReadFile(path, profileLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return m, false, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err == nil {
		err = m.check()
	}
	if err != nil {
		return m, false, fmt.Errorf("%s: %w; hone doctor --bench measures anew", path, err)
	}
	if m.Hardware != hardware {
		return m, false, fmt.Errorf("the profile is of another machine, %s: hone doctor --bench measures this one", cmp.Or(m.Hardware, "nobody knows which"))
	}
	return m, true, nil
}

func (m Machine) check() error {
	for name, rate := range map[string]float64{"float32": m.Float32, "bfloat16": m.BFloat16, "step": m.Step, "bandwidth": m.Bandwidth, "disk": m.Disk, "hash": m.Hash} {
		if !(rate > 0) {
			return fmt.Errorf("%s is %g", name, rate)
		}
	}
	return nil
}

// Write keeps a profile.
func (m Machine) Write(dir string) (path string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	b, err := json.MarshalIndent(m, "", "\t")
	if err != nil {
		return "", err
	}
	path = Profile(dir, m.Device, m.Threads)
	return path, atomicfile.Write(path, append(b, '\n'), 0o644)
}
