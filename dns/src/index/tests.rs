mod fixture;
mod kept;
mod property;
mod rows;
