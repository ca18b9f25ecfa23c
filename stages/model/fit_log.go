package model

import (
	"math"
	"strings"
	"time"
)

// The names of the sums of a method's metrics, of how many steps had them, and of what was logged last begin so.
const metricSum, metricCount, metricLogged = "metric/", "count/", "logged/"

// summed is the metrics of methods, under TRL's names, that stand beside the loss in a stage's record, as they were logged last.
var summed = []string{
	"rewards/accuracies", "rewards/margins", "rewards/chosen", "rewards/rejected", "log_odds_ratio",
	"reward", "reward_std", "frac_reward_zero_std", "completions/mean_length", "kl",
}

// add takes the newest step into the sums since the last line of the log.
func (l *fitting) add(o outcome) {
	sums := l.state.Sums
	sums["steps"]++
	sums["loss"] += o.Loss
	sums["tokens"] += float64(o.tokens)
	sums["total_tokens"] += float64(o.tokens)
	for name, v := range o.metrics {
		sums[metricSum+name] += v
		sums[metricCount+name]++ // kto's batch may lack a label
	}
}

// log writes the means of the steps since the last line, and begins new sums.
func (l *fitting) log(gradNorm, rate float64) error {
	now, sums := time.Now(), l.state.Sums
	values := map[string]float64{
		"loss": sums["loss"] / sums["steps"], "grad_norm": gradNorm, "learning_rate": rate,
		"epoch": l.order.Epoch(l.state.Step), "tokens": sums["total_tokens"], "num_tokens": sums["total_tokens"],
		"tokens_per_second": sums["tokens"] / math.Max(now.Sub(l.logged).Seconds(), 1e-9),
	}
	for sum, v := range sums {
		if name, ok := strings.CutPrefix(sum, metricSum); ok {
			values[name] = v / sums[metricCount+name]
			delete(sums, sum)
			delete(sums, metricCount+name)
		}
	}
	if gradNorm == 0 && !l.still && values["frac_reward_zero_std"] != 1 { // equal rewards have a warning of their own
		l.job.Warn("step %d: the gradient is zero: nothing is learned; weights that a learningRate too high has thrown far off give this", l.state.Step)
		l.still = true
	}
	if err := l.job.Metric(l.state.Step, values); err != nil {
		return err
	}
	sums["logged_loss"] = values["loss"]
	for _, name := range summed {
		if v, ok := values[name]; ok {
			sums[metricLogged+name] = v
		}
	}
	sums["steps"], sums["loss"], sums["tokens"] = 0, 0, 0
	l.logged = now
	return nil
}

// summarize gives the stage's record what was logged last, of a checkpoint where that one is of the last step.
func (l *fitting) summarize() {
	l.job.Summary("steps", float64(l.state.Step))
	l.job.Summary("loss", l.state.Sums["logged_loss"])
	for _, name := range summed {
		if v, ok := l.state.Sums[metricLogged+name]; ok {
			l.job.Summary(name, v)
		}
	}
}
