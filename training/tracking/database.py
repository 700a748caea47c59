"""Addresses of databases, without any library."""


def database_address(address: str) -> str:
    """The address with the PostgreSQL driver that requirements.txt has, unless it names one itself.

    SQLAlchemy's own choice for postgresql:// is another one.
    """
    scheme, separator, rest = address.partition("://")
    return f"postgresql+psycopg2://{rest}" if separator and scheme in ("postgresql", "postgres") else address
