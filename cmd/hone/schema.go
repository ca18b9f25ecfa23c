package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/schemas/jsonschema"
)

func schemaCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "schema KIND",
		Short: "the fields of a stage kind; schemas for cue, editors and tools",
		Long: `schema KIND lists the fields of a stage kind: type, default and meaning.

Kinds: ` + strings.Join(schemas.Kinds(), ", "),
		Example: `  hone schema train.sft
  hone schema json train.sft`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			if schemas.Implementation(args[0]) == 0 {
				return usage("%s: neither a stage kind nor a verb of schema%s", args[0], pipelines.Suggest(args[0], append(schemas.Kinds(), "json", "vendor")))
			}
			return printKind(c.OutOrStdout(), args[0])
		},
	}
	c.AddCommand(schemaVendorCommand(), schemaJSONCommand())
	return c
}

func schemaVendorCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "vendor [DIR]",
		Short:   "write the schemas where plain cue and editors find them",
		Example: `  hone schema vendor && cue vet ./...`,
		Long: `vendor writes the schemas below cue.mod/pkg of the CUE module that DIR lies in (the working folder when left
out), and makes the module at DIR where there is none. Then cue vet, cue export and editors work on the pipeline.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			folder, err := pipelines.Vendor(dir)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), folder)
			return err
		},
	}
}

func schemaJSONCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "json [KIND]",
		Short:   "the JSON Schema of a pipeline, or of one stage kind",
		Example: `  hone schema json train.sft`,
		Long:    "json writes JSON Schema (draft 2020-12).\n\nKinds: " + strings.Join(schemas.Kinds(), ", "),
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			schema, err := jsonschema.Pipeline()
			if len(args) > 0 {
				if schemas.Implementation(args[0]) == 0 {
					return usage("unknown kind %q: one of %s", args[0], strings.Join(schemas.Kinds(), ", "))
				}
				schema, err = jsonschema.Kind(args[0])
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s\n", schema)
			return err
		},
	}
}
