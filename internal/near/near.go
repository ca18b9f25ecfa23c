// Package near finds the name that a misspelt one was probably meant to be.
package near

import (
	"slices"
	"strings"
)

// Name is the nearest of the names, the first of those as near. Where none is within a third of the letters it is the only one that begins
// so, by three letters or more; else "".
func Name(name string, have []string) string {
	best, distance := "", (len(name)+1)/3+1
	for _, h := range have {
		if d := edits(strings.ToLower(name), strings.ToLower(h)); d < distance {
			best, distance = h, d
		}
	}
	if best == "" && len(name) >= 3 {
		longer := func(h string) bool { return strings.HasPrefix(strings.ToLower(h), strings.ToLower(name)) }
		if i := slices.IndexFunc(have, longer); i >= 0 && !slices.ContainsFunc(have[i+1:], longer) {
			best = have[i]
		}
	}
	return best
}

// edits counts the insertions, deletions, substitutions and swaps of neighbours that make b of a
// (Damerau 1964, the variant that edits no letter twice). Names above 100 bytes are not compared.
func edits(a, b string) int {
	if len(a) > 100 || len(b) > 100 {
		return 100
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(last[j]+1, row[j-1]+1, change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
