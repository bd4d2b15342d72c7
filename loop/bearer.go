package loop

import "ringcast/dialect"

// who is the user that a client is, as members of a group are told of it; nil: it has not said. nil as the group stands for any: it says
// whether the client has said at all.
func (c *client) who(g *group) *dialect.Who { return nil }
