"""Addresses of databases; needs no package."""


def database_address(address: str) -> str:
    """The address with the PostgreSQL driver of requirements.txt, unless it names a driver.

    SQLAlchemy's default driver for postgresql:// is another one.
    """
    scheme, separator, rest = address.partition("://")
    return f"postgresql+psycopg2://{rest}" if separator and scheme in ("postgresql", "postgres") else address
