package store

import (
	"encoding/binary"
	"io"

	"lukechampine.com/blake3/guts"
)

// A large file is hashed by all cores: BLAKE3 is the root of a binary tree, whose subtrees they share. The library compresses what a
// vector register takes at once; putting that together to one hash in the order of the specification (section 2.1) is here.

const (
	leaf   = guts.MaxSIMD * guts.ChunkSize // bytes of the smallest subtree: 16 chunks
	piece  = 64 * leaf                     // of one that a core has to itself: 1 MiB
	shared = 4 * piece                     // of a file that is worth it
)

// sum of n bytes of r, which are at least one piece.
func sum(r io.ReaderAt, n int64) ([32]byte, error) {
	pieces := int(n / piece)
	nodes := make([]guts.Node, pieces)
	if err := Parallel(pieces, func(i int) error {
		buffer := buffers.Get().(*[piece]byte)
		defer buffers.Put(buffer)
		if _, err := r.ReadAt(buffer[:], int64(i)*piece); err != nil {
			return err
		}
		nodes[i] = subtree(buffer, uint64(i))
		return nil
	}); err != nil {
		return [32]byte{}, err
	}
	heights := make([]int, pieces)
	for i := range heights {
		heights[i] = 10
	}
	rest := make([]byte, (n%piece+leaf-1)/leaf*leaf)
	if _, err := r.ReadAt(rest[:n%piece], int64(pieces)*piece); err != nil && n%piece > 0 {
		return [32]byte{}, err
	}
	for at := 0; at < int(n%piece); at += leaf { // all but the last are whole
		chunk := uint64(pieces)*piece/guts.ChunkSize + uint64(at)/guts.ChunkSize
		nodes = append(nodes, guts.CompressBuffer((*[leaf]byte)(rest[at:]), min(leaf, int(n%piece)-at), &guts.IV, chunk, 0))
		heights = append(heights, 4)
	}
	return root(nodes, heights), nil
}

// subtree is of the piece with that number.
func subtree(buffer *[piece]byte, number uint64) guts.Node {
	var values [piece / leaf][8]uint32
	for i := range values {
		chunk := (number*piece + uint64(i)*leaf) / guts.ChunkSize
		values[i] = guts.ChainingValue(guts.CompressBuffer((*[leaf]byte)(buffer[i*leaf:]), leaf, &guts.IV, chunk, 0))
	}
	level := values[:]
	for ; len(level) > 2; level = level[:len(level)/2] {
		for i := range len(level) / 2 {
			level[i] = guts.ChainingValue(guts.ParentNode(level[2*i], level[2*i+1], &guts.IV, 0))
		}
	}
	return guts.ParentNode(level[0], level[1], &guts.IV, 0)
}

// root puts subtrees together, from left to right: of equal height to one of the next, and what is left from the right.
func root(nodes []guts.Node, heights []int) [32]byte {
	type done struct {
		value  [8]uint32
		height int
	}
	var stack []done
	last := len(nodes) - 1
	for i, n := range nodes[:last] {
		top := done{guts.ChainingValue(n), heights[i]}
		for len(stack) > 0 && stack[len(stack)-1].height == top.height {
			top = done{guts.ChainingValue(guts.ParentNode(stack[len(stack)-1].value, top.value, &guts.IV, 0)), top.height + 1}
			stack = stack[:len(stack)-1]
		}
		stack = append(stack, top)
	}
	n := nodes[last]
	for ; len(stack) > 0; stack = stack[:len(stack)-1] {
		n = guts.ParentNode(stack[len(stack)-1].value, guts.ChainingValue(n), &guts.IV, 0)
	}
	n.Flags |= guts.FlagRoot
	words := guts.CompressNode(n)
	var hash [32]byte
	for i := range 8 {
		binary.LittleEndian.PutUint32(hash[4*i:], words[i])
	}
	return hash
}
