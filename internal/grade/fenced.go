package grade

import "strings"

// fenced is the content of the last block of a text between lines that begin with three backticks, without white space
// around it; all of the text where it has none. A block that does not end goes to the end of the text.
func fenced(text string) string {
	const fence = "```"
	var block []string
	inside, found := false, false
	for line := range strings.Lines(text) {
		switch fenceLine := strings.HasPrefix(strings.TrimSpace(line), fence); {
		case fenceLine && !inside:
			inside, found, block = true, true, nil
			// A block on one line: ```SELECT 1```
			if rest, closed := strings.CutSuffix(strings.TrimSpace(line)[len(fence):], fence); closed && rest != "" {
				inside, block = false, []string{rest}
			}
		case fenceLine:
			inside = false
		case inside:
			block = append(block, line)
		}
	}
	if !found {
		return strings.TrimSpace(text)
	}
	return strings.TrimSpace(strings.Join(block, ""))
}
