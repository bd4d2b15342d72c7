package api

import _ "embed"

// dashboard is for Grafana's import.
//
//go:embed dashboard.json
var dashboard []byte
