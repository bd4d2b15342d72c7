// Package settings is what an operator has set: arguments, environment and config file become checked settings, and
// every mistake in them becomes a message that names the setting, the value, where it came from and the mend.
//
//	arguments ───┐                               ┌─► Settings: loop.Config, bus.Config, …
//	environment ─┼─► Parse ──► Flags.Settings ───┤
//	config file ─┘   (kong)                      └─► UsageError
//
// The rule of the package: it looks at nothing by itself. The environment, the config file, the machine's memory and CPUs
// are handed in with a Source; nothing is started, opened, written or logged here, so the same Source always gives the
// same settings. Whether an address is free or a directory can be written is found out by whoever uses it.
//
// A flag beats its environment variable, which beats the config file.
package settings
