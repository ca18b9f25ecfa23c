package provenance

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/hone-ml/hone/runner/store"
)

// BOM is a CycloneDX 1.6 bill of materials as indented JSON: the artifact with its files and, for a model, its card; the base
// and the data that came from outside. made is when it was written, version is hone's. The same lineage gives the same bytes but
// for that time.
func (f *Facts) BOM(files []Resource, made time.Time, version string) ([]byte, error) {
	component := f.component(files)
	bom := cdx.NewBOM()
	bom.SerialNumber = "urn:uuid:" + uuid(f.Hash+f.Made.Key)
	bom.Metadata = &cdx.Metadata{
		Timestamp: made.UTC().Truncate(time.Second).Format(time.RFC3339),
		Tools:     &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "hone", Version: version}}},
		Component: &component,
	}
	var parts []cdx.Component
	if f.Base != nil && f.Base != f.Made {
		parts = append(parts, f.loaded(f.Base, "base"))
	}
	for _, other := range f.Others {
		parts = append(parts, f.loaded(other, "model:"+other.Key))
	}
	for _, s := range f.data() {
		parts = append(parts, dataComponent(s, cdx.ComponentDataTypeDataset))
	}
	if f.IsModel() && f.Fresh != nil { // its tokenizer is somebody's
		for _, s := range f.Fresh.Sources {
			parts = append(parts, dataComponent(s, cdx.ComponentDataTypeOther))
		}
	}
	needs := make([]string, len(parts))
	dependencies := []cdx.Dependency{{Ref: component.BOMRef, Dependencies: &needs}}
	for i, p := range parts {
		needs[i] = p.BOMRef
		dependencies = append(dependencies, cdx.Dependency{Ref: p.BOMRef})
	}
	bom.Components, bom.Dependencies = &parts, &dependencies
	var b bytes.Buffer
	err := cdx.NewBOMEncoder(&b, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).EncodeVersion(bom, cdx.SpecVersion1_6)
	return b.Bytes(), err
}

// data is the rows that a model was trained on; of another artifact all its sources.
func (f *Facts) data() []Source {
	if f.IsModel() {
		return f.rows()
	}
	return sources(f.Runs)
}

// IsModel says whether the artifact is a model, an adapter, or what an export stage wrote of one.
func (f *Facts) IsModel() bool {
	return f.Kind == "model" || f.Kind == "adapter" || f.Made.Kind == "export"
}

func (f *Facts) component(files []Resource) cdx.Component {
	c := cdx.Component{
		BOMRef: "artifact", Type: cdx.ComponentTypeData, Name: f.Name(), Version: f.Hash[:12],
		Properties: &[]cdx.Property{{Name: "hone:" + TreeDigest, Value: f.Hash}, {Name: "hone:key", Value: f.Made.Key}, {Name: "hone:kind", Value: f.Made.Kind}},
	}
	if len(files) > 0 {
		var below []cdx.Component
		for _, file := range files {
			below = append(below, cdx.Component{
				BOMRef: "file:" + file.Name, Type: cdx.ComponentTypeFile, Name: file.Name,
				Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: file.Digest["sha256"]}},
			})
		}
		c.Components = &below
	}
	if !f.IsModel() {
		return c
	}
	c.Type = cdx.ComponentTypeMachineLearningModel
	c.ModelCard = f.modelCard()
	if f.Base != nil && f.Base != f.Made {
		base := f.loaded(f.Base, "")
		c.Pedigree = &cdx.Pedigree{Ancestors: &[]cdx.Component{base}}
	}
	return c
}

func (f *Facts) modelCard() *cdx.MLModelCard {
	p := &cdx.MLModelParameters{Task: "text-generation", ArchitectureFamily: f.Family, ModelArchitecture: f.Architecture}
	if len(f.Trainings) > 0 { // the last comes first
		approach := cdx.MLModelParametersApproachTypeSupervised
		switch f.Trainings[0].Kind {
		case "train.grpo":
			approach = cdx.MLModelParametersApproachTypeReinforcementLearning
		case "model.pretrain":
			approach = cdx.MLModelParametersApproachTypeSelfSupervised
		}
		p.Approach = &cdx.MLModelParametersApproach{Type: approach}
	}
	var datasets []cdx.MLDatasetChoice
	for _, s := range f.rows() {
		datasets = append(datasets, cdx.MLDatasetChoice{Ref: ref(s)})
	}
	if len(datasets) > 0 {
		p.Datasets = &datasets
	}
	card := &cdx.MLModelCard{ModelParameters: p}
	var metrics []cdx.MLPerformanceMetric
	for _, e := range f.Evals {
		metrics = append(metrics, cdx.MLPerformanceMetric{Type: e.metric(), Value: number(e.After.Value), Slice: e.Suite})
	}
	if len(metrics) > 0 {
		card.QuantitativeAnalysis = &cdx.MLQuantitativeAnalysis{PerformanceMetrics: &metrics}
	}
	return card
}

// loaded is a model that came from outside.
func (f *Facts) loaded(run *Run, ref string) cdx.Component {
	c := cdx.Component{BOMRef: ref, Type: cdx.ComponentTypeMachineLearningModel, Name: run.Name()}
	var properties []cdx.Property
	for _, port := range slices.Sorted(maps.Keys(run.Outputs)) {
		properties = append(properties, cdx.Property{Name: "hone:" + TreeDigest, Value: run.Outputs[port].Hash})
	}
	for _, s := range run.Sources {
		switch {
		case s.Repo != "":
			c.Name, c.Version = s.Repo, s.At
			c.PackageURL = "pkg:huggingface/" + s.Repo + "@" + s.At
		case s.At != "":
			c.Version = s.At
		case strings.HasSuffix(s.Name, "/"):
			c.Name = s.Name
			properties = append(properties, cdx.Property{Name: "hone:source:" + TreeDigest, Value: s.Hash})
		default:
			c.Name, c.Hashes = s.label(), &[]cdx.Hash{{Algorithm: cdx.HashAlgoBlake3, Value: s.Hash}}
		}
	}
	c.Properties = &properties
	if name := f.licenseOf(run); name != "" {
		c.Licenses = &cdx.Licenses{{License: license(name)}}
	}
	return c
}

func ref(s Source) string { return "source:" + s.Hash + s.At }

func dataComponent(s Source, kind cdx.ComponentDataType) cdx.Component {
	c := cdx.Component{
		BOMRef: ref(s), Type: cdx.ComponentTypeData, Name: s.label(),
		Data: &[]cdx.ComponentData{{Type: kind, Name: s.label()}},
	}
	switch {
	case s.At != "":
		c.Version = s.At
	case strings.HasSuffix(s.Name, "/"):
		c.Properties = &[]cdx.Property{{Name: "hone:" + TreeDigest, Value: s.Hash}}
	default:
		c.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoBlake3, Value: s.Hash}}
	}
	return c
}

// label is what a source is called: what the pipeline names it, else the field that names it there.
func (s Source) label() string {
	if s.Name == "" {
		return s.Field
	}
	return s.Name
}

// Name is the pipeline and the stage of a run.
func (r *Run) Name() string { return r.Pipeline + "/" + r.Stage }

// spdx is the SPDX identifiers of the hub's words for licences that models commonly have; another one is a name.
var spdx = map[string]string{
	"apache-2.0": "Apache-2.0", "mit": "MIT", "bsd-3-clause": "BSD-3-Clause", "bsd-2-clause": "BSD-2-Clause", "cc0-1.0": "CC0-1.0",
	"cc-by-4.0": "CC-BY-4.0", "cc-by-sa-4.0": "CC-BY-SA-4.0", "cc-by-nc-4.0": "CC-BY-NC-4.0", "gpl-3.0": "GPL-3.0-only", "agpl-3.0": "AGPL-3.0-only",
	"mpl-2.0": "MPL-2.0", "odc-by": "ODC-By-1.0", "isc": "ISC", "unlicense": "Unlicense", "artistic-2.0": "Artistic-2.0",
}

func license(name string) *cdx.License {
	if id := spdx[strings.ToLower(name)]; id != "" {
		return &cdx.License{ID: id}
	}
	return &cdx.License{Name: name}
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// uuid is one of version 8, made of a hash: the BOM of one artifact has one serial number.
func uuid(of string) string {
	h := store.Sum([]byte(of))
	return fmt.Sprintf("%s-%s-8%s-8%s-%s", h[:8], h[8:12], h[13:16], h[17:20], h[20:32])
}
