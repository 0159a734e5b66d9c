try:
    from nbpipe.clients import SQLAlchemyClient
except ImportError:
    from ploomber.clients import SQLAlchemyClient


def get_client():
    return SQLAlchemyClient("sqlite:///output/data.db")


def get_other():
    return SQLAlchemyClient("sqlite:///output/other.db")
