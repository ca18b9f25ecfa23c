package grade

import (
	"context"
	"fmt"

	"github.com/hone-ml/hone/internal/grade/sqlite"
	"github.com/hone-ml/hone/schemas"
)

// newSQL is 1 where the completion's query gives the rows that the answer's gives.
func newSQL(g *schemas.SQL, env Env) (*Grader, error) {
	db, err := sqlite.Open(env.File("sql.database"))
	if err != nil {
		return nil, fmt.Errorf("sql.database: %w", err)
	}
	var asked string // of the answer's rows in want: the completions of one row come one after another
	var want *sqlite.Result
	score := func(_ context.Context, c Completion, answer string) (float64, error) {
		if query := fenced(answer); want == nil || query != asked {
			if want, err = db.Query(query); err != nil {
				return 0, fmt.Errorf("sql: the answer: %w", err)
			}
			asked = query
		}
		got, err := db.Query(fenced(c.Text))
		return truth(err == nil && want.Equal(got)), nil
	}
	return &Grader{column: g.Column, needs: true, score: score, close: func() error { db.Close(); return nil }}, nil
}
