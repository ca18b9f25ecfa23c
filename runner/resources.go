package runner

import (
	"runtime"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/memory"
	"github.com/hone-ml/hone/pipelines"
)

// demand is what a stage reserves while it runs.
type demand struct {
	cpus   int
	memory int64  // bytes; 0 where the stage does not say
	device string // an accelerator, for one stage at a time
}

// capacity is what the machine has left. A stage that wants more than all of it has the machine to itself.
type capacity struct {
	all, left demand
	slots     int // of -j
	devices   map[string]bool
}

func machine(jobs int) capacity {
	all := demand{cpus: runtime.GOMAXPROCS(0), memory: memory.Limit()}
	if all.memory == 0 { // not known
		all.memory = 1 << 62
	}
	return capacity{all: all, left: all, slots: jobs, devices: map[string]bool{}}
}

// demandOf is what a stage asks for. Where it does not say, one with tensors takes its worker's threads, and of
// others there may be as many as -j says.
func demandOf(s *pipelines.Stage, n job.Numerics) demand {
	d := demand{cpus: s.Resources.CPUs, memory: s.Resources.Memory}
	if d.cpus == 0 && !Inline(s) {
		d.cpus = n.Threads
	}
	switch n.Device {
	case "cpu":
	case "cuda":
		d.device = "cuda:0"
	default:
		d.device = n.Device
	}
	return d
}

func (c *capacity) clamp(d demand) demand {
	d.cpus = min(d.cpus, c.all.cpus)
	d.memory = min(d.memory, c.all.memory)
	return d
}

// take reserves d where it is free.
func (c *capacity) take(d demand) bool {
	if c.slots == 0 || d.cpus > c.left.cpus || d.memory > c.left.memory || d.device != "" && c.devices[d.device] {
		return false
	}
	c.slots--
	c.left.cpus -= d.cpus
	c.left.memory -= d.memory
	if d.device != "" {
		c.devices[d.device] = true
	}
	return true
}

// busy says whether d lacks cores and nothing else.
func (c *capacity) busy(d demand) bool {
	return d.cpus > c.left.cpus && c.slots > 0 && d.memory <= c.left.memory && !c.devices[d.device]
}

func (c *capacity) give(d demand) {
	c.slots++
	c.left.cpus += d.cpus
	c.left.memory += d.memory
	delete(c.devices, d.device)
}
