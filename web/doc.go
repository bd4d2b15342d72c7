// Package web has the pages that the server serves, embedded: the demo page for visitors of the WebSocket port, and the admin page for
// its operator. They are plain HTML, CSS and JavaScript; each works without internet access, as it loads nothing from elsewhere.
//
// The rule of the package: it has the bytes and serves nothing.
package web

import _ "embed" // the pages

// Demo is the demo page, one file.
//
//go:embed demo.html
var Demo []byte

// The admin page: its HTML names its style sheet and its script as admin.css and admin.js beside it, since its Content-Security-Policy
// allows neither inline.
var (
	//go:embed admin.html
	AdminPage []byte
	//go:embed admin.css
	AdminStyle []byte
	//go:embed admin.js
	AdminScript []byte
)
