//! Images: uploads, files of all kinds, products' images, storage.

mod files;
mod hostile;
mod products;
mod storage;
mod uploads;
