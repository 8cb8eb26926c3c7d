use super::super::urlencoded;
use super::*;
use crate::process::php_value::Writer;
use bytes::BytesMut;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

fn serialized(array: &Array<Vec<u8>>) -> Vec<u8> {
    fn write(w: &mut Writer<'_>, array: &Array<Vec<u8>>) {
        w.array(array.len());
        for (key, node) in array.iter() {
            match key {
                Key::Int(number) => w.int(*number),
                Key::Text(text) => w.str(text),
            }
            match node {
                Node::Leaf(value) => w.str(value),
                Node::Array(inner) => write(w, inner),
            }
        }
        w.end();
    }
    let mut out = BytesMut::new();
    write(&mut Writer(&mut out), array);
    out.to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _fits = write!(text, "{byte:02x}");
        text
    })
}

/// What PHP itself makes of each of `bodies`, serialized and in hexadecimal.
fn by_php(bodies: &[String]) -> Vec<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/parse_str.php");
    let mut php = Command::new("php")
        .args(["-d", "max_input_vars=1000", "-d", "display_errors=0", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines: String = bodies.iter().map(|body| hex(body.as_bytes()) + "\n").collect();
    let mut input = php.stdin.take().unwrap();
    let feed = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = php.wait_with_output().unwrap();
    feed.join().unwrap().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[track_caller]
fn same_as_php(bodies: &[String]) {
    let expected = by_php(bodies);
    assert_eq!(expected.len(), bodies.len());
    for (body, expected) in bodies.iter().zip(expected) {
        let (ours, _) = urlencoded::parse(body.as_bytes(), 1000);
        let ours = serialized(&ours);
        assert_eq!(hex(&ours), expected, "{body:?} became {}", String::from_utf8_lossy(&ours));
    }
}

#[test]
fn nasty_names_become_what_php_makes_of_them() {
    let deep = |levels: usize| format!("a{}=1&b=2", "[x]".repeat(levels));
    let mut bodies = vec![deep(63), deep(64), deep(65), format!("a=0&{}", deep(65))];
    bodies.push((0..1100).map(|index| format!("v{index}=1&")).collect());
    bodies.extend(
        [
            "",
            "a",
            "a=",
            "=1",
            "&&a=1&",
            "a=1&a=2",
            "a[]=1&a[]=2",
            "a[]=1&a=2&a[]=3",
            "a=1&a[b]=2",
            "a[b][c]=1&a[b]=2&a[b][d]=3",
            "a[b",
            "a[b=1",
            "a[b.c d[e=1",
            "a[[b]=1",
            "a[b][c=1",
            "a[][c=1",
            "a[]b=1",
            "a[b]c[d]=1",
            "a[b]]=1",
            "[a]=1",
            "[=1",
            "]=1",
            "a]=1",
            "a[=1",
            "a[ ]=1",
            "a[ b]=1",
            "a[b ]=1",
            "a[\t]=1",
            "a.b=1",
            "a b=1",
            "+a=1",
            "a+=1",
            "a.b[c.d]=1",
            ".a=1",
            " =1",
            "%20%20a=1",
            "a%00b=1",
            "a[%00]=1",
            "a[b%00]=1",
            "%00=1",
            "a%5Bb%5D=1",
            "a[0]=x&a[]=y",
            "a[5]=x&a[]=y",
            "a[05]=x&a[]=y",
            "a[+5]=x&a[]=y",
            "a[5 ]=x",
            "0=a&1=b",
            "00=a",
            "a[9223372036854775807]=1&a[]=2&a[x]=3",
            "a[9223372036854775808]=1&a[]=2",
            "-1=x",
            "a[-0]=1",
            "a[1.5]=1",
            "a[b]=1&a[c]=2&a[b]=3",
            "a%2=1&b%=2&c%zz=3",
            "a=%FF%E9&%E9=1",
            "a=b=c",
            "this=1",
            "GLOBALS=1",
            "a[__proto__]=1",
            "a[][]=1&a[][]=2",
            "a[][x]=1&a[][y]=2",
            "a[0][]=1&a[0][]=2",
            "a.b.c[d][e f]=1",
            "a[b][=1",
            "a[b]x=1&a[b][c]=2",
        ]
        .map(str::to_owned),
    );
    same_as_php(&bodies);
}

#[test]
fn random_names_become_what_php_makes_of_them() {
    // Fixed, so that a failure comes back; no minus, whose meaning changed with PHP 8.3.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    let alphabet: Vec<char> = "ab01[][]][=&. +%5B\t".chars().collect();
    let bodies: Vec<String> = (0..5000)
        .map(|_| (0..next(24)).map(|_| alphabet[next(alphabet.len())]).collect())
        .collect();
    same_as_php(&bodies);
}

#[test]
fn a_key_after_a_negative_one_follows_it_as_since_php_8_3() {
    let (fields, _) = urlencoded::parse(b"a[-5]=x&a[]=y", 10);
    let inner = match fields.iter().next() {
        Some((_, Node::Array(inner))) => inner,
        other => panic!("{other:?}"),
    };
    let keys: Vec<_> = inner.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(keys, [Key::Int(-5), Key::Int(-4)]);
}
