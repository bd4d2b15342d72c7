package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"ringcast/bench/report"
)

// reportVerb reads result files and shows their contents. It measures nothing and needs no server.
type reportVerb struct {
	Files    []string `arg:"" name:"file" help:"Result files (--json). Those of the same machine and tree are merged."`
	Format   string   `enum:"text,markdown,csv,json" default:"text" help:"text, markdown: tables with the medians of the rounds. csv, json: every run."`
	Pictures string   `placeholder:"DIR" help:"Also draw latency, server CPU, deliveries and memory into DIR, as SVG and PNG."`
	Against  string   `placeholder:"FILE" help:"Compare FILE, the earlier result, with the given ones, and say what differs by more than noise."`
}

// Run is called by kong.
func (v *reportVerb) Run(e *env) error {
	if v.Against != "" && v.Format == "csv" {
		return errors.New("--against goes with --format text, markdown or json")
	}
	var read []*report.File
	for _, name := range v.Files {
		f, err := report.Read(name)
		if err != nil {
			return err
		}
		read = append(read, f)
	}
	files := report.Merge(read...)
	if len(files) > 1 && (v.Pictures != "" || v.Against != "") {
		return fmt.Errorf("--pictures and --against need files of one machine and tree, these are of %d", len(files))
	}
	if v.Pictures != "" {
		if err := drawInto(v.Pictures, files[0], e); err != nil {
			return err
		}
	}
	if v.Against != "" {
		earlier, err := report.Read(v.Against)
		if err != nil {
			return err
		}
		return v.compare(e, report.Compare(earlier, files[0]))
	}
	switch v.Format {
	case "csv":
		return report.CSV(e.stdout, read...)
	case "json":
		return report.JSON(e.stdout, read...)
	}
	for i, f := range files {
		if i > 0 {
			fmt.Fprintln(e.stdout)
		}
		table := report.Table
		if v.Format == "markdown" {
			table = report.Markdown
		}
		if _, err := fmt.Fprint(e.stdout, table(f)); err != nil {
			return err
		}
	}
	return nil
}

func (v *reportVerb) compare(e *env, c *report.Comparison) error {
	var err error
	switch v.Format {
	case "json":
		err = c.JSON(e.stdout)
	case "markdown":
		_, err = fmt.Fprint(e.stdout, c.Markdown())
	default:
		_, err = fmt.Fprint(e.stdout, c.Text())
	}
	return err
}

// drawInto writes the pictures and names them on stderr, since stdout may be redirected into a file.
func drawInto(dir string, f *report.File, e *env) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { // before they are drawn, which takes longer than all else
		return fmt.Errorf("--pictures: %w", err)
	}
	pictures, err := report.Pictures(f)
	if err != nil {
		return err
	}
	if len(pictures) == 0 {
		return errors.New("--pictures: these files have no figure to draw")
	}
	for _, p := range pictures {
		for ending, b := range map[string][]byte{".svg": p.SVG, ".png": p.PNG} {
			if err := os.WriteFile(filepath.Join(dir, p.Name+ending), b, 0o644); err != nil {
				return fmt.Errorf("--pictures: %w", err)
			}
		}
		fmt.Fprintln(e.stderr, filepath.Join(dir, p.Name)+".svg, .png")
	}
	return nil
}
