package loop

// Kind is what an operator says of the groups whose names match a pattern.
type Kind struct {
	Match      string // the whole name, UTF-8; * stands for any run of characters, also none, and nothing else is special
	MembersMax int    // members of one group of this kind, in place of Limits.MembersMax; 0: no bound
}
