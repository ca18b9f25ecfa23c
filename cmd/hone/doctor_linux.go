package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// space returns the bytes free to this user where a folder lies, and whether that is a network file system.
func space(dir string) (free uint64, network bool, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, false, fmt.Errorf("%s: %w", dir, err)
	}
	switch uint32(s.Type) {
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.CEPH_SUPER_MAGIC, unix.V9FS_MAGIC:
		network = true
	}
	return s.Bavail * uint64(s.Bsize), network, nil
}

// machineMemory returns the machine's memory and what a new program can have of it, in bytes.
func machineMemory() (total, available uint64, err error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, 0, err
	}
	for line := range bytes.Lines(b) {
		var name string
		var kib uint64
		if n, _ := fmt.Sscan(string(line), &name, &kib); n < 2 {
			continue
		}
		switch name {
		case "MemTotal:":
			total = kib << 10
		case "MemAvailable:":
			available = kib << 10
		}
	}
	if total == 0 {
		return 0, 0, fmt.Errorf("/proc/meminfo: no MemTotal")
	}
	return total, available, nil
}

// processor is the name that the processor gives itself.
func processor() string {
	if name := cpuinfo("model name"); name != "" {
		return name
	}
	return "unknown processor"
}

// processorModel tells processors apart that give themselves one name, as those of virtual machines do.
func processorModel() string {
	said := processor()
	for _, field := range []string{"cpu family", "model", "CPU implementer", "CPU part"} {
		if v := cpuinfo(field); v != "" {
			said += fmt.Sprintf(", %s %s", strings.TrimPrefix(field, "cpu "), v)
		}
	}
	return said
}

// cpuinfo is a field of the first processor; empty where it is not told.
func cpuinfo(field string) string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == field {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// working is the seconds that all processors together have worked since the machine began, those that its host took away included.
func working() float64 {
	const hertz = 100 // USER_HZ of every architecture that Go knows
	b, _ := os.ReadFile("/proc/stat")
	var name string
	var user, nice, system, idle, wait, interrupt, soft, steal float64
	if _, err := fmt.Sscan(string(b), &name, &user, &nice, &system, &idle, &wait, &interrupt, &soft, &steal); err != nil {
		return 0
	}
	return (user + nice + system + interrupt + soft + steal) / hertz
}
