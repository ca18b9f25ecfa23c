package train

import "slices"

// Pack puts examples together into bins of at most length tokens by best-fit decreasing (Ding et al. 2024; TRL's default
// strategy): the longest first, each into the fullest bin that has room, of equals the one that has had it for longest. A bin is what a batch then counts as a row; its
// examples keep positions of their own and do not see one another. Bins and their examples stand in order of their first row.
func Pack(examples []Example, length int) [][]Example {
	order := make([]int, len(examples))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return len(examples[b].IDs) - len(examples[a].IDs) })
	// rooms[n] is the bins with n tokens of room; a search for the smallest room that fits is a walk over at most length lists.
	rooms := make([][]int, length+1)
	var bins [][]int
	for _, i := range order {
		n := len(examples[i].IDs)
		at := -1
		for room := n; room <= length; room++ {
			if len(rooms[room]) > 0 {
				at = rooms[room][0]
				rooms[room] = rooms[room][1:]
				rooms[room-n] = append(rooms[room-n], at)
				break
			}
		}
		if at < 0 {
			at = len(bins)
			bins = append(bins, nil)
			if room := length - n; room >= 0 {
				rooms[room] = append(rooms[room], at)
			}
		}
		bins[at] = append(bins[at], i)
	}
	for _, b := range bins {
		slices.Sort(b)
	}
	slices.SortFunc(bins, func(a, b []int) int { return a[0] - b[0] })
	packed := make([][]Example, len(bins))
	for k, b := range bins {
		for _, i := range b {
			packed[k] = append(packed[k], examples[i])
		}
	}
	return packed
}

// Unpacked makes a bin of every example.
func Unpacked(examples []Example) [][]Example {
	bins := make([][]Example, len(examples))
	for i, e := range examples {
		bins[i] = []Example{e}
	}
	return bins
}

// Lengths is the tokens of each bin.
func Lengths(bins [][]Example) []int {
	lengths := make([]int, len(bins))
	for i, b := range bins {
		for _, e := range b {
			lengths[i] += len(e.IDs)
		}
	}
	return lengths
}
