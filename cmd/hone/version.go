package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/internal/job"
)

// release is set by the build of a release; other builds are named by their commit.
var release = ""

func versionCommand() *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:     "version",
		Short:   "the version of this program",
		Example: `  hone version`,
		RunE: func(c *cobra.Command, _ []string) error {
			if f.json {
				return printJSON(c, map[string]any{
					"version": version(), "protocol": job.Protocol, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
				})
			}
			_, err := fmt.Fprintln(c.OutOrStdout(), versionLine())
			return err
		},
	}
	f.register(c, "json")
	return c
}

// versionLine is what hone version and hone --version print.
func versionLine() string {
	return fmt.Sprintf("hone %s (job protocol %d, %s, %s/%s)", version(), job.Protocol, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// version is the release, the module's version or the commit that was built.
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	commit, dirty := "devel", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+changes"
		}
	}
	return commit + dirty
}
