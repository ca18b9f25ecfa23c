package tensor

import (
	"errors"
	"strings"
	"testing"
)

// What libtorch says where memory is short is understood, and more of it is asked for than there is.
func TestOutOfMemory(t *testing.T) {
	for message, want := range map[string]string{
		"CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB of which 1.11 GiB is free. Process 7 has 78.00 GiB memory in use. Of the allocated memory": "op: out of memory: it takes 80.0 GiB at least, and of the device it can have 79.1 GiB",
		"CUDA out of memory. Tried to allocate 512.00 MiB.": "op: out of memory on the device",
		"std::bad_alloc": "op: out of memory: it takes more than ",
		"DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes. Error code 12 (Cannot allocate memory)": "op: out of memory: it takes ",
		"shapes differ": "op: shapes differ",
	} {
		err := thrown("op", message)
		var short *OutOfMemory
		if !strings.HasPrefix(err.Error(), want) || errors.As(err, &short) != strings.Contains(want, "out of memory") {
			t.Errorf("%q: %v, want %s", message, err, want)
		}
	}
	Lock()
	defer Open().Close()
	err := Guard(func() error { Empty(Float32, 1<<46); return nil })
	var short *OutOfMemory
	if !errors.As(err, &short) || short.Asked != 1<<48 || short.Device != OnDevice() || short.All == 0 || !strings.Contains(err.Error(), "it takes") {
		t.Errorf("256 TiB: %v", err)
	}
	if s := Zeros(Float32, 2).Sum().Scalar(); s != 0 { // and work goes on
		t.Error(s)
	}
}
