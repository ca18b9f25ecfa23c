package store

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/zeebo/blake3"
)

// TestSum holds the hash that cores share against the one of a library that takes bytes in turn, around each border of the tree.
func TestSum(t *testing.T) {
	all := make([]byte, 9*piece+1)
	r := rand.NewChaCha8([32]byte{1})
	if _, err := r.Read(all); err != nil {
		t.Fatal(err)
	}
	var sizes []int
	for _, pieces := range []int{1, 2, 3, 4, 5, 7, 8, 9} {
		for _, more := range []int{-1, 0, 1, 1023, 1024, 1025, leaf - 1, leaf, leaf + 1, 3*leaf + 17, piece - leaf, piece - 1} {
			if n := pieces*piece + more; n >= piece && n <= len(all) {
				sizes = append(sizes, n)
			}
		}
	}
	for _, n := range sizes {
		got, err := sum(bytes.NewReader(all[:n]), int64(n))
		if want := blake3.Sum256(all[:n]); err != nil || got != want {
			t.Errorf("%d bytes: %x, %v; want %x", n, got, err, want)
		}
	}
	if _, err := sum(bytes.NewReader(all[:2*piece]), 2*piece+5); err == nil {
		t.Error("a file that is shorter than it was has a hash")
	}
}
