package grade

import (
	"errors"
	"fmt"
	"strings"
)

// exact is 1 where completion and answer are the same text, outer white space aside.
func exact(completion, answer string) (float64, error) {
	return truth(strings.TrimSpace(completion) == strings.TrimSpace(answer)), nil
}

// contains is 1 where the answer, outer white space aside, stands somewhere in the completion.
func contains(completion, answer string) (float64, error) {
	answer = strings.TrimSpace(answer)
	if answer == "" {
		return 0, errors.New("the answer is empty: every completion contains it")
	}
	return truth(strings.Contains(completion, answer)), nil
}

// number is 1 where completion and answer end on the same number.
func number(completion, answer string) (float64, error) {
	want, ok := findNumber(answer)
	if !ok {
		return 0, fmt.Errorf("no number in the answer %.60q", answer)
	}
	got, ok := findNumber(completion)
	return truth(ok && equal(got, want)), nil
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
