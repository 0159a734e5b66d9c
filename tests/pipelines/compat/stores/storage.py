try:
    from nbpipe.clients import LocalStorageClient
except ImportError:
    from ploomber.clients import LocalStorageClient


def get_client():
    return LocalStorageClient("backup", path_to_project_root=".")
