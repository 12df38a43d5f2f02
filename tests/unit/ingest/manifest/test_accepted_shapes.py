"""Every shape of manifest that is accepted (docs/manifest.md)."""

import codecs

import pytest

from tests.unit.ingest.manifest.reading import HEADER, A, B, C, products, read

TITLES = HEADER.strip()
SHIRT, HAT = ("1", "Shirt", [A, B]), ("2", "Hat", [C])
ONE_PRODUCT = {
    "URLs in one quoted cell": HEADER + f'1,Shirt,"{A},{B}"\n',
    "URLs in columns of their own": HEADER + f"1,Shirt,{A},{B}\n",
    "no newline at the end": HEADER + f"1,Shirt,{A},{B}",
    "a line quoted as a whole": HEADER + f'"1,Shirt,""{A},{B}"""\n',
    "a line quoted as a whole, without inner quotes": HEADER + f'"1,Shirt,{A},{B}"\n',
    "a header quoted as a whole": f'"{TITLES}"\n1,Shirt,"{A},{B}"\n',
    "quoted as a whole, with semicolons": f'"S. No.;Product Name;Input Image Urls";;\n"1;Shirt;{A},{B}";;\n',
    "white space around URLs": HEADER + f'1,Shirt,"  {A} ,\n  {B}  "\n',
    "white space within URLs": HEADER + '1,Shirt,"https://a.exa\nmple/ a.j\r\npg,htt\nps://a.example/b.jpg"\n',
    "only white space between URLs": HEADER + f'1,Shirt,"{A}\n{B}"\n',
    "a comma at the end of the cell": HEADER + f'1,Shirt,"{A},{B}, "\n',
    "a list of URLs without quotes under semicolons": f"{TITLES}\n1,Shirt,{A}".replace(",", ";") + f", {B}\n",
    "a list of URLs without quotes under tabs": f"{TITLES}\n1,Shirt,{A}".replace(",", "\t") + f", {B}\n",
    "URLs in columns of their own under semicolons": f"{TITLES}\n1,Shirt,{A},{B}\n".replace(",", ";"),
    "columns in another order": f'Input Image Urls,S. No.,Product Name\n"{A},{B}",1,Shirt\n',
    "URL columns in the middle": f"Product Name,Input Image Urls,S. No.\nShirt,{A},{B},1\n",
    "white space around serial numbers and names": HEADER + f'" 1\t","\n Shirt ",{A},{B}\n',
    "spaces before quotes": HEADER + f'1, "Shirt", "{A}, {B}"\n',
    "header: other spellings": f"S.No,Product Name,Input Image URLs\n1,Shirt,{A},{B}\n",
    "header: serial number and other cases": f"Serial Number,PRODUCT NAME,input image urls\n1,Shirt,{A},{B}\n",
    "header: other spaces": f"  s. no. , productname ,InputImageUrls\n1,Shirt,{A},{B}\n",
    "header: quotes and a line feed": f'"S. No.","Product\nName","Input Image Urls"\n1,Shirt,{A},{B}\n',
    "header: spaces after commas": f"S. No, Product Name, Input Image Urls\n1,Shirt,{A},{B}\n",
}
TWO_PRODUCTS = {
    "URLs in columns of their own": HEADER + f"1,Shirt,{A},{B}\n2,Hat,{C}\n",
    "trailing commas": f"{TITLES},,\n1,Shirt,{A},{B},,,\n2,Hat,{C},,\n",
    "blank lines and lines of empty cells": f"\n\n{HEADER}\n1,Shirt,{A},{B}\n   \n,,\n , ,,,\n2,Hat,{C}\n\n",
    "other columns": f"Colour,{TITLES},Price\nred,1,Shirt,{A},{B},9.99\n,2,Hat,{C},\n",
}


@pytest.mark.parametrize("text", ONE_PRODUCT.values(), ids=ONE_PRODUCT.keys())
def test_one_product_with_two_images(text: str) -> None:
    assert products(text) == [SHIRT]


@pytest.mark.parametrize("text", TWO_PRODUCTS.values(), ids=TWO_PRODUCTS.keys())
def test_two_products(text: str) -> None:
    assert products(text) == [SHIRT, HAT]


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\r\r\n"])
def test_line_ends(end: str) -> None:
    assert products((HEADER + f"1,Shirt,{A},{B}\n2,Hat,{C}\n").replace("\n", end)) == [SHIRT, HAT]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters(delimiter: str) -> None:
    assert products(f'{TITLES}\n1,Shirt,"{A}|{B}"'.replace(",", delimiter).replace("|", ",")) == [SHIRT]


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example/w=1,h=2/a,b.jpg",
        "https://a.example/w_300,q_auto/https://b.example/a.jpg",
        "https://proxy.example/?u=http://a.example/a.jpg",
        "https://a.example//a,b//c.jpg",
    ],
)
@pytest.mark.parametrize("row", ['1,Shirt,"{},{}"', "1,Shirt,{},{}"])
def test_commas_and_urls_inside_a_url_do_not_divide_it(row: str, url: str) -> None:
    assert products(HEADER + row.format(url, B)) == [("1", "Shirt", [url, B])]
    assert products(HEADER + row.format(B, url)) == [("1", "Shirt", [B, url])]


def test_a_url_may_be_broken_by_white_space_anywhere() -> None:
    for index in range(1, len(B)):
        assert products(HEADER + f'1,Shirt,"{A},{B[:index]} \n {B[index:]}"') == [SHIRT], index


@pytest.mark.parametrize(
    ("bom", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (b"", "windows-1252"),
    ],
)
def test_encodings(bom: bytes, encoding: str) -> None:
    assert products(bom + (HEADER + f"1,Größe € ½,{A}\n").encode(encoding)) == [("1", "Größe € ½", [A])]


def test_windows_1252_is_noticed_on_the_last_line() -> None:
    text = HEADER + f"1,Shirt,{A}\n"
    assert products(text.encode() + f"2,Gr\xf6\xdfe,{B}\n".encode("latin-1"))[1][1] == "Größe"


def test_blank_lines_count_as_lines_but_not_as_rows() -> None:
    found = [(item.row, item.line) for item in read(f"\n{HEADER}\n1,Shirt,{A}\n,,\n2,Hat,{C}\n")]
    assert found == [(1, 4), (2, 6)]


def test_a_record_over_several_lines_is_on_its_first() -> None:
    found = read(HEADER + f'1,"Shi\nrt","{A},\n{B}"\n2,Hat,{C}\n')
    assert [(item.row, item.line) for item in found] == [(1, 2), (2, 5)]


def test_quotes_inside_cells() -> None:
    assert products(HEADER + f'1,"19"" rack",{A}\n2,19" rack,{B}\n') == [("1", '19" rack', [A]), ("2", '19" rack', [B])]


def test_the_same_url_twice_stays_twice() -> None:
    assert products(HEADER + f'1,Shirt,"{A},{A}"\n') == [("1", "Shirt", [A, A])]


def test_a_cell_above_the_usual_limit_of_the_csv_module() -> None:
    urls = [f"https://a.example/{number}/{'x' * 2000}.jpg" for number in range(100)]
    assert products(HEADER + f'1,Shirt,"{",".join(urls)}"\n') == [("1", "Shirt", urls)]
