//! Files that people name.

use std::io;
use std::path::Path;

/// All of a file that has `bytes_max` bytes at most; a larger one is not read.
///
/// # Errors
/// When it cannot be read or is too large; the error says how large, not which file.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let bytes = std::fs::metadata(path)?.len();
    if bytes > bytes_max {
        return Err(io::Error::other(format!("has {bytes} bytes, at most {bytes_max} are read")));
    }
    std::fs::read(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_or_refused_by_its_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "four").unwrap();
        assert_eq!(read(&path, 4).unwrap(), b"four");
        assert_eq!(read(&path, 3).unwrap_err().to_string(), "has 4 bytes, at most 3 are read");
        assert_eq!(read(&folder.path().join("none"), 3).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
