from rest_framework.pagination import CursorPagination


class NewestFirst(CursorPagination):
    """Lists of the API: a cursor, never a page number, so rows that arrive meanwhile shift nothing."""

    ordering = "-pk"
    page_size_query_param = "page_size"
    max_page_size = 1000
