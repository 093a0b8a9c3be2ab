//! Writes sample pages to look at: `cargo run -p penstock-pages --example sample -- FOLDER`.

#[path = "../tests/samples/mod.rs"]
mod samples;

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let folder = std::path::Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    for sample in samples::all() {
        let page = sample.page();
        std::fs::write(folder.join(sample.name).with_extension("html"), page.html())?;
        std::fs::write(
            folder.join(sample.name).with_extension("md"),
            page.markdown(),
        )?;
    }
    for tale in samples::stories::all() {
        let file = folder.join(tale.name).with_extension("html");
        std::fs::write(file, tale.page().html())?;
    }
    Ok(())
}
