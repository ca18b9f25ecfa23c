// Package gguf reads llama.cpp's model files and writes them as Hugging Face folders.
//
//	metadata     key → value: architecture, sizes, the whole tokenizer
//	block        the unit of quantisation: 32 or 256 values of a row that share scales
//	tensor info  name, dimensions (innermost first), type, and where its values begin
//	data         the tensors, each beginning at a multiple of general.alignment
//	architecture which of the world's models the tensors are: llama, qwen2, qwen3
//
// The format is https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian. Nothing in
// a file is trusted: a count is believed only as far as the file has bytes for it, so that a short file cannot ask
// for much memory.
package gguf

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// File is a GGUF file, mapped read-only until Close.
type File struct {
	Path    string
	Meta    Metadata
	Tensors []Tensor // in the file's order
	mapped  []byte
}

// Tensor is a tensor of the file. Shape is row-major, as PyTorch writes it: the reverse of the file's order.
type Tensor struct {
	Name  string
	Type  Type
	Shape []int64
	Data  []byte // a view of the mapped file
}

// Open maps and checks a file. Errors name it.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() < 4 {
		return nil, fmt.Errorf("%s: not a GGUF file", path)
	}
	m, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("%s: mmap: %w", path, err)
	}
	g, err := Parse(m)
	if err != nil {
		unix.Munmap(m)
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	g.Path, g.mapped = path, m
	return g, nil
}

// Close unmaps the file. Data of its tensors must not be touched afterwards.
func (f *File) Close() error {
	if f.mapped == nil {
		return nil
	}
	m := f.mapped
	f.mapped, f.Tensors = nil, nil
	return unix.Munmap(m)
}

// Tensor returns the tensor of that name.
func (f *File) Tensor(name string) (Tensor, bool) {
	for _, t := range f.Tensors {
		if t.Name == name {
			return t, true
		}
	}
	return Tensor{}, false
}
