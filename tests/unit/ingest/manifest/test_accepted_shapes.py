"""Every shape of manifest that is accepted (DESIGN section 4, docs/manifest.md)."""

import codecs

import pytest

from services.ingest.manifest.rows import Product
from tests.unit.ingest.manifest.reading import HEADER, A, B, C, products, read

SHIRT = ("1", "Shirt", [A, B])


def test_urls_in_one_quoted_cell_with_commas() -> None:
    assert products(HEADER + f'1,Shirt,"{A},{B}"\n') == [SHIRT]


def test_urls_as_extra_unquoted_columns() -> None:
    assert products(HEADER + f"1,Shirt,{A},{B}\n2,Hat,{C}\n") == [SHIRT, ("2", "Hat", [C])]


def test_whole_line_quoted() -> None:
    assert products(HEADER + f'"1,Shirt,""{A},{B}"""\n') == [SHIRT]


def test_whole_line_quoted_without_inner_quotes() -> None:
    assert products(HEADER + f'"1,Shirt,{A},{B}"\n') == [SHIRT]


def test_whole_header_line_quoted() -> None:
    assert products(f'"S. No.,Product Name,Input Image Urls"\n1,Shirt,"{A},{B}"\n') == [SHIRT]


def test_whole_line_quoted_with_semicolons_and_trailing_delimiters() -> None:
    assert products(f'"S. No.;Product Name;Input Image Urls";;\n"1;Shirt;{A},{B}";;\n') == [SHIRT]


def test_newlines_and_spaces_between_urls() -> None:
    assert products(HEADER + f'1,Shirt,"  {A} ,\n  {B}  "\n') == [SHIRT]


def test_newlines_and_spaces_in_the_middle_of_a_url() -> None:
    assert products(HEADER + '1,Shirt,"https://a.exa\nmple/ a.j\r\npg,htt\nps://a.example/b.jpg"\n') == [SHIRT]


def test_urls_on_lines_of_their_own_without_commas() -> None:
    assert products(HEADER + f'1,Shirt,"{A}\n{B}"\n') == [SHIRT]


def test_trailing_commas() -> None:
    assert products(f"S. No.,Product Name,Input Image Urls,,\n1,Shirt,{A},{B},,,\n2,Hat,{C},,\n") == [
        SHIRT,
        ("2", "Hat", [C]),
    ]


def test_trailing_comma_inside_the_cell() -> None:
    assert products(HEADER + f'1,Shirt,"{A},{B}, "\n') == [SHIRT]


def test_commas_inside_a_url() -> None:
    url = "https://a.example/w=1,h=2/a,b.jpg"
    assert products(HEADER + f'1,Shirt,"{url},{B}"\n') == [("1", "Shirt", [url, B])]


def test_commas_inside_a_url_of_an_unquoted_column() -> None:
    url = "https://a.example/w=1,h=2/a,b.jpg"
    assert products(HEADER + f"1,Shirt,{url},{B}\n") == [("1", "Shirt", [url, B])]


def test_a_url_inside_a_url_is_no_second_one() -> None:
    url = "https://proxy.example/?u=http://a.example/a.jpg"
    assert products(HEADER + f"1,Shirt,{url}\n") == [("1", "Shirt", [url])]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters(delimiter: str) -> None:
    lines = ["S. No.,Product Name,Input Image Urls".replace(",", delimiter), f'1{delimiter}Shirt{delimiter}"{A},{B}"']
    assert products("\n".join(lines)) == [SHIRT]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_unquoted_comma_lists_under_another_delimiter(delimiter: str) -> None:
    text = f"S. No.,Product Name,Input Image Urls\n1,Shirt,{A}".replace(",", delimiter) + f", {B}\n"
    assert products(text) == [SHIRT]


def test_extra_columns_under_another_delimiter() -> None:
    assert products(f"S. No.;Product Name;Input Image Urls\n1;Shirt;{A};{B}\n") == [SHIRT]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "windows-1252"])
def test_encodings(encoding: str) -> None:
    assert products((HEADER + f"1,Größe € ½,{A}\n").encode(encoding)) == [("1", "Größe € ½", [A])]


@pytest.mark.parametrize(("bom", "encoding"), [(codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")])
def test_utf_16_in_both_byte_orders(bom: bytes, encoding: str) -> None:
    assert products(bom + (HEADER + f"1,Größe 衣,{A}\n").encode(encoding)) == [("1", "Größe 衣", [A])]


def test_windows_1252_is_noticed_on_the_last_line() -> None:
    text = HEADER + f"1,Shirt,{A}\n" * 1
    assert products(text.encode() + f"2,Gr\xf6\xdfe,{B}\n".encode("latin-1"))[1][1] == "Größe"


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\r\r\n"])
def test_line_ends(end: str) -> None:
    assert products((HEADER + f"1,Shirt,{A},{B}\n2,Hat,{C}\n").replace("\n", end)) == [SHIRT, ("2", "Hat", [C])]


def test_no_newline_at_the_end() -> None:
    assert products(HEADER + f"1,Shirt,{A},{B}") == [SHIRT]


def test_blank_lines_and_lines_of_empty_cells() -> None:
    text = f"\n\n{HEADER}\n1,Shirt,{A},{B}\n   \n,,\n , ,,,\n2,Hat,{C}\n\n"
    assert products(text) == [SHIRT, ("2", "Hat", [C])]


def test_blank_lines_count_as_lines_but_not_as_rows() -> None:
    found = [(item.row, item.line) for item in read(f"\n{HEADER}\n1,Shirt,{A}\n,,\n2,Hat,{C}\n")]
    assert found == [(1, 4), (2, 6)]


def test_a_record_over_several_lines_is_on_its_first() -> None:
    found = read(HEADER + f'1,"Shi\nrt","{A},\n{B}"\n2,Hat,{C}\n')
    assert [(item.row, item.line) for item in found] == [(1, 2), (2, 5)]


@pytest.mark.parametrize(
    "header",
    [
        "S.No,Product Name,Input Image URLs",
        "Serial Number,PRODUCT NAME,input image urls",
        "  s. no. , productname ,InputImageUrls",
        '"S. No.","Product\nName","Input Image Urls"',
        "S. No, Product Name, Input Image Urls",
    ],
)
def test_spellings_of_the_header(header: str) -> None:
    assert products(f"{header}\n1,Shirt,{A},{B}\n") == [SHIRT]


def test_columns_in_any_order() -> None:
    assert products(f'Input Image Urls,S. No.,Product Name\n"{A},{B}",1,Shirt\n') == [SHIRT]


def test_extra_url_columns_in_any_order() -> None:
    assert products(f"Product Name,Input Image Urls,S. No.\nShirt,{A},{B},1\n") == [SHIRT]


def test_other_columns_are_left_alone() -> None:
    text = f"Colour,S. No.,Product Name,Input Image Urls,Price\nred,1,Shirt,{A},{B},9.99\n,2,Hat,{C},\n"
    assert products(text) == [SHIRT, ("2", "Hat", [C])]


def test_serial_numbers_and_names_are_trimmed() -> None:
    assert products(HEADER + f'" 1\t","\n Shirt ",{A},{B}\n') == [SHIRT]


def test_spaces_after_the_delimiter_before_a_quote() -> None:
    assert products(HEADER + f'1, "Shirt", "{A}, {B}"\n') == [SHIRT]


def test_quotes_inside_cells() -> None:
    assert products(HEADER + f'1,"19"" rack",{A}\n2,19" rack,{B}\n') == [("1", '19" rack', [A]), ("2", '19" rack', [B])]


def test_the_same_url_twice_stays_twice() -> None:
    assert products(HEADER + f'1,Shirt,"{A},{A}"\n') == [("1", "Shirt", [A, A])]


def test_a_cell_above_the_usual_limit_of_the_csv_module() -> None:
    urls = [f"https://a.example/{number}/{'x' * 2000}.jpg" for number in range(100)]
    assert products(HEADER + f'1,Shirt,"{",".join(urls)}"\n') == [("1", "Shirt", urls)]


def test_the_file_stays_open() -> None:
    assert isinstance(read(HEADER + f"1,Shirt,{A}\n")[0], Product)
