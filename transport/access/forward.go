package access

import (
	"context"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/transport/peerpb"
	"github.com/rota-scheduler/rota/wire"
)

// Forward adds to a call to another server for whom it is made. What belongs to no call is the server's own.
func Forward(ctx context.Context) (context.Context, error) {
	c := CallOf(ctx)
	if c == nil {
		return ctx, nil
	}
	p := &peerpb.Principal{TokenHash: c.who.Token.GetHash()}
	if c.who.Token == nil {
		p.Role, p.Name = string(c.who.Role), c.who.Name
	}
	b, err := proto.Marshal(p)
	if err != nil {
		return nil, task.Errorf(task.KindInternal, "encode who asks: %v", err)
	}
	return metadata.AppendToOutgoingContext(ctx, wire.PrincipalKey, string(b)), nil
}

// vouched returns for whom a server asks. A token is looked up again: it may have been revoked meanwhile.
func (g *Guard) vouched(ctx context.Context, header []string) (*Principal, Reason, error) {
	p := &peerpb.Principal{}
	if len(header) > 1 || proto.Unmarshal([]byte(header[0]), p) != nil || len(p.ProtoReflect().GetUnknown()) > 0 {
		return nil, reasonMalformed, task.Errorf(task.KindUnauthenticated, "it is not said well for whom the server asks")
	}
	if len(p.TokenHash) > 0 {
		return g.byToken(ctx, p.TokenHash)
	}
	role, err := task.ParseRole(p.Role)
	if err != nil {
		return nil, reasonMalformed, task.Errorf(task.KindUnauthenticated, "the server asks for somebody with the unknown role %q", p.Role)
	}
	return &Principal{Role: role, Name: p.Name}, "", nil
}
