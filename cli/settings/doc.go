// Package settings reads what an operator has set: arguments, environment and config file become checked settings, and
// every mistake in them becomes a message that names the setting, the value, where it came from and how to mend it.
//
//	arguments ───┐                               ┌─► Settings: loop.Config, bus.Config, …
//	environment ─┼─► Parse ──► Flags.Settings ───┤
//	config file ─┘   (kong)                      └─► UsageError
//
// The rule of the package: it reads nothing from the machine by itself. The environment, the config file, the machine's
// memory and CPUs are handed in with a Source; nothing is started, opened, written or logged here, so the same Source always
// gives the same settings. Whether an address is free or a directory can be written is checked by the code that uses it.
//
// A flag takes precedence over its environment variable, which takes precedence over the config file.
package settings
