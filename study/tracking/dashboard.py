"""The dashboard: MLflow's web server."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from degradations import RunError
from study.tracking.database import artifacts, database, open_client


def serve(root: Path, port: int) -> int:
    """Serve the dashboard on 127.0.0.1 until interrupted; returns its exit status.

    Raises RunError if the port cannot be used.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise RunError(
                f"--port {port}: cannot be used on 127.0.0.1 ({error.strerror}); give another port."
            ) from None
    open_client(root)
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        database(root),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--default-artifact-root",
        artifacts(root).as_uri(),
    ]
    print(f"MLflow on http://127.0.0.1:{port} (Ctrl-C ends it)", flush=True)
    with subprocess.Popen(command, env=environment) as server:
        signal.signal(signal.SIGTERM, lambda *_: server.terminate())
        try:
            return server.wait()
        except KeyboardInterrupt:
            server.terminate()
            return 0
