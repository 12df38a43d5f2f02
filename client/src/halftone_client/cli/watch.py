"""Following a request to its end, for the commands that wait."""

from halftone_client.cli import summary
from halftone_client.cli.outputs import Outputs, write
from halftone_client.cli.progress import watching
from halftone_client.cli.session import Session
from halftone_client.shapes import TERMINAL, Request


def to_the_end(session: Session, request: Request, outputs: Outputs) -> int:
    """Show progress until the request is terminal, then its summary; write what is wanted. The exit code."""
    request_id = request["request_id"]
    go_on = session.again(f"watch {request_id}{outputs.command()}")
    session.interrupted = ("Interrupted; the service goes on without you.", f"Watch it again: {go_on}")
    session.be_patient()
    if request["status"] not in TERMINAL:
        with watching(session.screen) as shown:
            request = session.client.wait(request_id, watch=shown)
    session.interrupted = ("Interrupted; the request is finished.", f"Go on: {go_on}")
    summary.print_end(session.screen, request)
    if outputs:
        write(session, request, outputs)
    if not session.screen.is_plain:
        session.screen.show()
    summary.print_request(session.screen, session.client, request)
    summary.print_failures(session.screen, session.client, request, retry=session.again(f"retry {request_id} --wait"))
    return summary.exit_code(request)
