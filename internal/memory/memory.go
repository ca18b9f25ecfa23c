// Package memory tells how much main memory there is for a process, and how much it takes.
package memory

import "github.com/KimMachineGun/automemlimit/memlimit"

// Limit is what the processes of this machine may take in bytes: its memory, or less where a control group, a container's say, has a
// limit. 0 is not known.
func Limit() int64 {
	system, err := memlimit.FromSystem()
	if err != nil {
		system = 0
	}
	if group, err := memlimit.FromCgroup(); err == nil && (system == 0 || group < system) {
		return int64(group)
	}
	return int64(system)
}
