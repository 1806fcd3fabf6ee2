"""Programs in a container of a pod, by pods/exec over a WebSocket.

``address.py`` parses the URL; ``config.py`` turns what kubectl users have (kubeconfig, service account) into access to
an apiserver; ``api.py`` makes the two requests there are; ``channels.py`` knows the protocol and does no I/O;
``connection.py`` is one running program; ``pods.py`` and ``refusals.py`` say why not; ``transport.py`` ties them.
"""

from devbox_mcp.transports.kubernetes.address import PodAddress
from devbox_mcp.transports.kubernetes.transport import KubernetesTransport

__all__ = ["KubernetesTransport", "PodAddress"]
