//! Asking an operator allocates nothing, once its regular expression is warm.

use secbeat_waf::{
    operator::{Captures, Operator},
    seclang::Files,
};

struct NoFiles;

impl Files for NoFiles {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        Err(path.to_owned())
    }

    fn expand(&self, _: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

#[test]
fn asking_allocates_nothing() {
    let calls = [
        ("beginsWith", "abc"),
        ("contains", "abc"),
        ("containsWord", "abc"),
        ("detectSQLi", ""),
        ("detectXSS", ""),
        ("endsWith", "abc"),
        ("ge", "5"),
        ("ipMatch", "10.0.0.0/8,::1"),
        ("pm", "abc def ghi"),
        ("restpath", "/a/{b}"),
        ("streq", "abc"),
        ("validateByteRange", "32-126"),
        ("validateUrlEncoding", ""),
        ("validateUtf8Encoding", ""),
        ("verifyCC", "[0-9]{13,16}"),
        ("within", "abc def"),
    ];
    let values: [&[u8]; 6] = [
        b"1' UNION ALL SELECT 1,2 FROM users WHERE 'a'='a' --",
        b"<svg/onload=alert(1)> <a href='javascript:x'>",
        b"10.1.2.3",
        b"/a/4417123456789113 %4 \xff abc",
        b"xabcx abc",
        b"",
    ];
    for (name, argument) in calls {
        let fixed = Operator::compile(name, Some(argument), "", &NoFiles).unwrap();
        let expanded = Operator::compile(name, None, "", &NoFiles).ok();
        let mut captures = Captures::new();
        let mut ask = || {
            for value in values {
                for operator in [Some(&fixed), expanded.as_ref()].into_iter().flatten() {
                    captures.clear();
                    operator.matches(value, argument.as_bytes(), &mut captures);
                    operator.path_arguments(value, &mut |_, _| {});
                }
            }
        };
        ask();
        let counted = allocation_counter::measure(ask);
        assert_eq!(counted.count_total, 0, "@{name}");
    }
}
