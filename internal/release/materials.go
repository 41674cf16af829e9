package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/CycloneDX/cyclonedx-go"
)

const kit = "github.com/sessionkit/sessionkit"

// A dependency is a module that the kit's packages are built from.
type dependency struct {
	Path, Version, Dir string
	licence            string
}

// dependencies returns them, sorted, without the kit itself and without what only
// tests need.
func dependencies(root string) ([]dependency, error) {
	out, err := output(root, "go", "list", "-deps", "-json=Module", "./...")
	if err != nil {
		return nil, err
	}
	var all []dependency
	for d := json.NewDecoder(strings.NewReader(out)); ; {
		var p struct{ Module *dependency }
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		m := p.Module
		if m == nil || m.Path == kit || slices.ContainsFunc(all, func(o dependency) bool { return o.Path == m.Path }) {
			continue
		}
		if m.licence, err = licenceOf(m.Dir); err != nil {
			return nil, fmt.Errorf("%s: %w", m.Path, err)
		}
		all = append(all, *m)
	}
	slices.SortFunc(all, func(a, b dependency) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

// licences are known by sentences of their own. The first that fits counts.
var licences = []struct {
	id        string
	sentences []string
}{
	{"Apache-2.0", []string{"Apache License", "Version 2.0, January 2004"}},
	{"BSD-3-Clause", []string{"Redistribution and use in source and binary forms", "Neither the name of"}},
	{"BSD-2-Clause", []string{"Redistribution and use in source and binary forms"}},
	{"MIT", []string{"Permission is hereby granted, free of charge", "The above copyright notice and this permission notice"}},
}

// licenceOf reads the licence file of a module.
func licenceOf(dir string) (string, error) {
	for _, name := range []string{"LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return "", err
		}
		plain := strings.Join(strings.Fields(string(text)), " ")
		for _, l := range licences {
			if !slices.ContainsFunc(l.sentences, func(s string) bool { return !strings.Contains(plain, s) }) {
				return l.id, nil
			}
		}
		return "", fmt.Errorf("%s is of no licence that is known here", name)
	}
	return "", errors.New("there is no licence file")
}

// materials returns the bill of materials. It has no serial number and no time, so
// that one commit has one bill.
func materials(root, version string) ([]byte, error) {
	all, err := dependencies(root)
	if err != nil {
		return nil, err
	}
	component := func(path, version, licence string) cyclonedx.Component {
		url := fmt.Sprintf("pkg:golang/%s@%s", path, version)
		return cyclonedx.Component{
			BOMRef: url, PackageURL: url, Type: cyclonedx.ComponentTypeLibrary, Name: path, Version: version,
			Licenses: &cyclonedx.Licenses{{License: &cyclonedx.License{ID: licence}}},
		}
	}
	self := component(kit, version, "MIT")
	bom := cyclonedx.NewBOM()
	bom.Metadata = &cyclonedx.Metadata{Component: &self}
	var components []cyclonedx.Component
	var refs []string
	for _, d := range all {
		c := component(d.Path, d.Version, d.licence)
		components, refs = append(components, c), append(refs, c.BOMRef)
	}
	bom.Components = &components
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: self.BOMRef, Dependencies: &refs}}
	var b bytes.Buffer
	e := cyclonedx.NewBOMEncoder(&b, cyclonedx.BOMFileFormatJSON)
	e.SetPretty(true)
	if err := e.EncodeVersion(bom, cyclonedx.SpecVersion1_6); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
