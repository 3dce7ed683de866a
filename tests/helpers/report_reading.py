"""A page read with the standard library's parser: elements, and the cells of its tables."""

from html.parser import HTMLParser

VOID = {"meta", "link", "img", "input", "br", "hr"}


class Page(HTMLParser):
    """All elements with their attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[dict] = []
        self.open: list[dict] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        inside = [one["id"] for one in self.open if one.get("id")]
        element = {"tag": tag, "text": "", "inside": inside, **dict(attrs)}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.elements.append({"tag": tag, "text": "", "inside": [], **dict(attrs)})

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1]["tag"] == tag, f"</{tag}> closes <{self.open[-1]['tag']}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element["text"] += data

    def all(self, tag: str, **attributes: str) -> list[dict]:
        """Elements of a tag whose attributes hold the given words."""
        return [
            one
            for one in self.elements
            if one["tag"] == tag
            and all(value in (one.get(name) or "") for name, value in attributes.items())
        ]

    def tables(self) -> list[list[list[dict]]]:
        """The sortable tables: rows of cells."""
        found: list[list[list[dict]]] = []
        for element in self.elements:
            if element["tag"] == "table":
                found.append([])
            elif element["tag"] == "tr" and found:
                found[-1].append([])
            elif element["tag"] == "td" and "data-order" in element:
                found[-1][-1].append(element)
        return [[row for row in table if row] for table in found if any(table)]
