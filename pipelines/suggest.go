package pipelines

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hone-ml/hone/internal/near"
)

// Suggest ends a message about an unknown name: with the name that was probably meant, else with all there are.
func Suggest(name string, have []string) string {
	have = slices.Sorted(slices.Values(have))
	best := near.Name(name, have)
	switch {
	case best != "":
		return fmt.Sprintf(" (did you mean %s?)", best)
	case len(have) == 0 || len(have) > 20:
		return ""
	}
	return fmt.Sprintf("; there is %s", strings.Join(have, ", "))
}
