package tensor

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/hone-ml/hone/internal/memory"
)

// OutOfMemory is memory that could not be had, in bytes; what is not known is 0.
type OutOfMemory struct {
	Op         string
	Device     bool  // an accelerator's, else the machine's
	Asked      int64 // in vain
	Taken, All int64 // by this process before, and what there is in all
}

func (e *OutOfMemory) Error() string {
	where := "this machine"
	if e.Device {
		where = "the device"
	}
	switch {
	case e.All == 0:
		return fmt.Sprintf("%s: out of memory on %s", e.Op, where)
	case e.Asked == 0:
		return fmt.Sprintf("%s: out of memory: it takes more than %s, and of %s it can have %s", e.Op, size(e.Taken), where, size(e.All))
	}
	return fmt.Sprintf("%s: out of memory: it takes %s at least, and of %s it can have %s", e.Op, size(e.Taken+e.Asked), where, size(e.All))
}

// size is bytes as one reads them.
func size(n int64) string {
	for _, unit := range []string{"GiB", "MiB", "KiB"} {
		if bytes := units[unit]; n >= bytes {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(bytes), unit)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

var units = map[string]int64{"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "bytes": 1}

// What libtorch says where memory is short: of a device, and of the machine.
var (
	deviceShort  = regexp.MustCompile(`out of memory\. Tried to allocate ([\d.]+ \w+)\.(?:.* total capacity of ([\d.]+ \w+))?(?:.* of which ([\d.]+ \w+) is free)?`)
	machineShort = regexp.MustCompile(`can't allocate memory: you tried to allocate (\d+ bytes)`)
)

// thrown is what libtorch threw in op.
func thrown(op, message string) error {
	if m := deviceShort.FindStringSubmatch(message); m != nil {
		e := &OutOfMemory{Op: op, Device: true, Asked: parseSize(m[1]), All: parseSize(m[2])}
		e.Taken = e.All - parseSize(m[3])
		return e
	}
	switch m := machineShort.FindStringSubmatch(message); {
	case m != nil:
		e := &OutOfMemory{Op: op, Asked: parseSize(m[1])}
		e.Taken, e.All = memory.Process()
		return e
	case strings.Contains(message, "std::bad_alloc"):
		e := &OutOfMemory{Op: op}
		e.Taken, e.All = memory.Process()
		return e
	case strings.Contains(message, "CUDA error: out of memory"):
		return &OutOfMemory{Op: op, Device: true}
	}
	return &Error{op, message}
}

// parseSize reads `2.00 GiB`; 0 is none.
func parseSize(s string) int64 {
	number, unit, _ := strings.Cut(s, " ")
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0
	}
	return int64(n * float64(units[unit]))
}
