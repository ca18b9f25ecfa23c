// Package minhash finds texts that are nearly the same.
//
// A text is the set of its shingles, each three words that follow one another. Two texts are as alike as the share of their shingles
// that both have (Jaccard). Which texts are worth comparing is found as in Leskovec, Rajaraman, Ullman: Mining of Massive Datasets,
// chapter 3: the least hash of a set under a random function is that of another with the probability that they are alike (Broder 1997),
// and texts that agree in all such hashes of a band are compared. What is compared is compared whole, so nothing is found by chance.
//
// Left out: texts are cut at maxWords, and of the many texts of one band most are compared with a text.
package minhash

import (
	"math/rand/v2"
	"slices"
	"strings"
	"unicode"
)

const (
	shingle  = 3    // words
	maxWords = 1000 // of a text
	most     = 200  // texts that one is compared with

	// With 16 bands of 4 a pair alike by 0.7 is compared in 99 of 100 cases, by 0.8 in all, by 0.3 in 12.
	bands, rows = 16, 4
)

// Index holds texts, each under a number of the caller's. It takes 4 bytes a shingle and about 1,000 a text, and is not safe for use by
// several goroutines.
type Index struct {
	threshold float64
	texts     []text
	buckets   [bands]map[uint64][]int32
	looked    []int32 // by text, the query that looked at it last
	query     int32
}

type text struct {
	id       int64
	shingles []uint32 // sorted; nil once removed
}

// New is an index that finds texts at least so alike, between 0 and 1.
func New(threshold float64) *Index {
	x := &Index{threshold: threshold}
	for i := range x.buckets {
		x.buckets[i] = map[uint64][]int32{}
	}
	return x
}

// Add puts a text into the index. One without a word is like none.
func (x *Index) Add(id int64, s string) {
	set := shingles(s)
	if len(set) == 0 {
		return
	}
	n := int32(len(x.texts))
	x.texts, x.looked = append(x.texts, text{id, set}), append(x.looked, 0)
	for i, band := range signature(set) {
		x.buckets[i][band] = append(x.buckets[i][band], n)
	}
}

// Take calls f with each text of the index that s is nearly the same as, and how alike they are; where f says so the text is taken out.
func (x *Index) Take(s string, f func(id int64, alike float64) bool) {
	set := shingles(s)
	if len(set) == 0 {
		return
	}
	x.query++
	compared := 0
	for i, band := range signature(set) {
		bucket := x.buckets[i][band]
		removed := false
		for _, n := range bucket {
			if compared == most {
				break
			}
			t := &x.texts[n]
			if t.shingles != nil && x.looked[n] != x.query {
				x.looked[n] = x.query
				compared++
				if alike := jaccard(set, t.shingles, x.threshold); alike >= x.threshold && f(t.id, alike) {
					t.shingles = nil
				}
			}
			removed = removed || t.shingles == nil
		}
		if removed {
			x.buckets[i][band] = slices.DeleteFunc(bucket, func(n int32) bool { return x.texts[n].shingles == nil })
		}
	}
}

// jaccard is the share of their shingles that two texts both have; 0 where their sizes alone keep it below the least that matters.
func jaccard(a, b []uint32, least float64) float64 {
	if float64(min(len(a), len(b))) < least*float64(max(len(a), len(b))) {
		return 0
	}
	both, i, j := 0, 0, 0
	for i < len(a) && j < len(b) {
		switch {
		case a[i] < b[j]:
			i++
		case a[i] > b[j]:
			j++
		default:
			both, i, j = both+1, i+1, j+1
		}
	}
	return float64(both) / float64(len(a)+len(b)-both)
}

// functions are the random functions of hashes, odd multipliers (Dietzfelbinger et al. 1997), the same in every run.
var functions = func() (f [bands * rows]uint64) {
	chance := rand.New(rand.NewPCG(1, 2))
	for i := range f {
		f[i] = chance.Uint64() | 1
	}
	return f
}()

// signature is the hash of each band.
func signature(set []uint32) (s [bands]uint64) {
	var least [bands * rows]uint64
	for i := range least {
		least[i] = ^uint64(0)
	}
	for _, h := range set {
		wide := mix(uint64(h))
		for i, f := range functions {
			least[i] = min(least[i], wide*f)
		}
	}
	for i := range s {
		for _, v := range least[i*rows : (i+1)*rows] {
			s[i] = mix(s[i] ^ v)
		}
	}
	return s
}

// shingles is the set of hashes of three words in a row, sorted; of fewer words one hash of them all.
func shingles(s string) []uint32 {
	words := words(s)
	if len(words) == 0 {
		return nil
	}
	n := min(shingle, len(words))
	set := make([]uint32, 0, len(words)-n+1)
	for i := range len(words) - n + 1 {
		h := uint64(0)
		for _, w := range words[i : i+n] {
			h = mix(h ^ w)
		}
		set = append(set, uint32(h>>32))
	}
	slices.Sort(set)
	return slices.Clip(slices.Compact(set))
}

// words is hashes (FNV-1a) of the words of a text, whose case and punctuation mean nothing. Signs of mathematics and code are words, and
// so is each letter of a script that puts no spaces between words.
func words(s string) (all []uint64) {
	const offset, prime = 0xcbf29ce484222325, 0x100000001b3
	word := uint64(offset)
	end := func() {
		if word != offset {
			all, word = append(all, word), offset
		}
	}
	for _, r := range s {
		if len(all) == maxWords {
			return all
		}
		switch {
		case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar),
			unicode.IsSymbol(r), strings.ContainsRune("-*/%&", r):
			end()
			word = (word ^ uint64(r)) * prime
			end()
		case unicode.IsLetter(r), unicode.IsNumber(r), unicode.IsMark(r):
			word = (word ^ uint64(unicode.ToLower(r))) * prime
		default:
			end()
		}
	}
	end()
	return all
}

// mix is the output function of SplitMix64 (Steele, Lea, Flood 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
