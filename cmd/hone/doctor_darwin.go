package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// space returns the bytes free to this user where a folder lies, and whether that is a network file system.
func space(dir string) (free uint64, network bool, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, false, fmt.Errorf("%s: %w", dir, err)
	}
	return s.Bavail * uint64(s.Bsize), s.Flags&unix.MNT_LOCAL == 0, nil
}

// machineMemory returns the machine's memory in bytes. What is available of it has no one answer there: it says the same again.
func machineMemory() (total, available uint64, err error) {
	total, err = unix.SysctlUint64("hw.memsize")
	return total, total, err
}

// processor is the name that the processor gives itself.
func processor() string {
	name, err := unix.Sysctl("machdep.cpu.brand_string")
	if err != nil {
		return "unknown processor"
	}
	return name
}

// processorModel tells processors apart.
func processorModel() string { return processor() }

// working is not told here.
func working() float64 { return 0 }
