//! Streaming parser of the JSON variant. It keeps no more of a text than the field's limit, and decodes images straight
//! to disk, so memory does not grow with the body.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

use base64::engine::general_purpose::STANDARD;
use base64::read::DecoderReader;
use struson::reader::{JsonReader, JsonStreamReader, ReaderError, ReaderSettings, ValueType};
use tokio::runtime::Handle;

use super::fields::{Fields, Files, LONGEST, TextField};
use crate::error::Error;
use crate::images::{Incoming, ReceivedFile, Refusal};
use crate::storage::Storage;

/// Size limit of field names in bytes. The reader buffers names whole.
const NAME: u64 = 1024 * 1024;

/// Size limit of a `data:` address before its comma, in bytes.
const HEAD: u64 = 1024;

/// Bytes of an image decoded at a time.
const PART: usize = 64 * 1024;

const NOT_AN_IMAGE: ReceivedFile = ReceivedFile::Refused(Refusal::NotAImage);

/// Failures of reading a body.
pub enum BodyError {
    Malformed,
    /// Reading the spooled body failed.
    Disk(io::Error),
    /// Writing an image failed.
    Write(Error),
}

impl From<io::Error> for BodyError {
    fn from(error: io::Error) -> BodyError {
        match error.raw_os_error() {
            Some(_) => BodyError::Disk(error),
            None => BodyError::Malformed,
        }
    }
}

impl From<ReaderError> for BodyError {
    fn from(error: ReaderError) -> BodyError {
        match error {
            ReaderError::IoError { error, .. } => error.into(),
            _ => BodyError::Malformed,
        }
    }
}

type Result<T, E = BodyError> = std::result::Result<T, E>;

/// Parser of a request in a file. Blocks.
pub struct Parser<'a> {
    storage: &'a Storage,
    json: JsonStreamReader<Bounded>,
    room: Rc<Cell<u64>>,
    fields: Fields,
    files: Files,
}

impl<'a> Parser<'a> {
    /// Creates a parser of `file`, which it reads from its current position. Images are spooled into `storage`.
    pub fn new(storage: &'a Storage, file: File) -> Parser<'a> {
        let room = Rc::new(Cell::new(u64::MAX));
        let bounded = Bounded {
            file: BufReader::new(file),
            room: Rc::clone(&room),
        };
        let settings = ReaderSettings {
            track_path: false,
            // Numbers are skipped, so their size does not matter.
            restrict_number_values: false,
            ..ReaderSettings::default()
        };
        Parser {
            storage,
            json: JsonStreamReader::new_custom(bounded, settings),
            room,
            fields: Fields::default(),
            files: Files::default(),
        }
    }

    /// Reads the texts and images of the object in the file. The last of several fields with one name wins.
    pub fn read(mut self) -> Result<(Fields, Files)> {
        if self.json.peek()? != ValueType::Object {
            return Err(BodyError::Malformed);
        }
        self.json.begin_object()?;
        while self.json.has_next()? {
            match self.name()?.as_str() {
                "images" => self.images()?,
                name @ ("name" | "email" | "description" | "colors") => {
                    let value = self.text()?;
                    self.fields.set(name, value);
                }
                _ => self.json.skip_value()?,
            }
        }
        self.json.end_object()?;
        self.json.consume_trailing_whitespace()?;
        Ok((self.fields, self.files))
    }

    fn name(&mut self) -> Result<String> {
        self.room.set(NAME);
        let name = self.json.next_name_owned()?;
        self.room.set(u64::MAX);
        Ok(name)
    }

    /// Reads a text. Other JSON types are skipped without buffering.
    fn text(&mut self) -> Result<TextField> {
        match self.json.peek()? {
            ValueType::String => {}
            ValueType::Null => {
                self.json.next_null()?;
                return Ok(TextField::Missing);
            }
            _ => {
                self.json.skip_value()?;
                return Ok(TextField::Other);
            }
        }
        let mut reader = self.json.next_string_reader()?;
        let mut text = Vec::new();
        let most = LONGEST as u64 + 1;
        reader.by_ref().take(most).read_to_end(&mut text)?;
        if text.len() > LONGEST {
            to_the_end(reader)?;
            return Ok(TextField::TooLong);
        }
        let text = String::from_utf8(text).map_err(|_| BodyError::Malformed)?;
        Ok(TextField::Given(text))
    }

    /// Reads the list of images; null counts as an empty list.
    fn images(&mut self) -> Result<()> {
        self.files = Files::default();
        match self.json.peek()? {
            ValueType::Array => {
                self.json.begin_array()?;
                while self.json.has_next()? {
                    self.image()?;
                }
                self.json.end_array()?;
            }
            ValueType::Null => self.json.next_null()?,
            _ => {
                self.json.skip_value()?;
                self.files.are_no_list = true;
            }
        }
        Ok(())
    }

    /// Reads one image: a text, or an object with the text as `preview`.
    fn image(&mut self) -> Result<()> {
        if self.files.taken.len() >= self.storage.limits().files {
            self.json.skip_value()?;
            self.files.surplus += 1;
            return Ok(());
        }
        let mut file = NOT_AN_IMAGE;
        if self.json.peek()? == ValueType::Object {
            self.json.begin_object()?;
            while self.json.has_next()? {
                match self.name()?.as_str() {
                    "preview" => file = self.address()?,
                    _ => self.json.skip_value()?,
                }
            }
            self.json.end_object()?;
        } else {
            file = self.address()?;
        }
        self.files.taken.push(file);
        Ok(())
    }

    /// Decodes the image in a `data:` address. Anything else, such as a path or a remote address, is rejected: nothing
    /// is fetched.
    fn address(&mut self) -> Result<ReceivedFile> {
        if self.json.peek()? != ValueType::String {
            self.json.skip_value()?;
            return Ok(NOT_AN_IMAGE);
        }
        let mut text = BufReader::new(self.json.next_string_reader()?);
        let mut head = Vec::new();
        text.by_ref().take(HEAD).read_until(b',', &mut head)?;
        let file = match is_base64(&head) {
            true => decode(self.storage, &mut text)?,
            false => NOT_AN_IMAGE,
        };
        to_the_end(text)?;
        Ok(file)
    }
}

/// Returns true for the head of an address with base64 content.
fn is_base64(head: &[u8]) -> bool {
    std::str::from_utf8(head)
        .ok()
        .and_then(|head| head.strip_prefix("data:"))
        .and_then(|head| head.strip_suffix(','))
        .is_some_and(|kind| kind.trim_end().ends_with(";base64"))
}

fn decode(storage: &Storage, text: &mut impl Read) -> Result<ReceivedFile> {
    let runtime = Handle::current();
    let mut bytes = DecoderReader::new(text, &STANDARD);
    let mut part = vec![0; PART];
    let mut incoming = Incoming::begin(storage).map_err(BodyError::Write)?;
    loop {
        let length = match bytes.read(&mut part) {
            Ok(0) => return runtime.block_on(incoming.end()).map_err(BodyError::Write),
            Ok(length) => length,
            Err(error) if is_of_base64(&error) => return Ok(NOT_AN_IMAGE),
            Err(error) => return Err(error.into()),
        };
        let taken = runtime.block_on(incoming.take(&part[..length]));
        taken.map_err(BodyError::Write)?;
    }
}

fn is_of_base64(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|cause| cause.is::<base64::DecodeError>())
}

/// Drains the reader, so that the next value can be parsed.
fn to_the_end(mut reader: impl Read) -> io::Result<()> {
    io::copy(&mut reader, &mut io::sink()).map(drop)
}

/// A file with a byte limit.
struct Bounded {
    file: BufReader<File>,
    room: Rc<Cell<u64>>,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        let room = self.room.get().checked_sub(length as u64);
        self.room.set(room.ok_or(io::ErrorKind::InvalidData)?);
        Ok(length)
    }
}
